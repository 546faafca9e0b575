#include "defenses/convexified_training.h"

#include <catch2/catch.hpp>

#include "tests/defenses/convolution_reference.h"

namespace afterimage {
namespace {

constexpr double beta = 4, ridge = 0.3, log_temperature = 0.4;
constexpr Smoothing relu{beta};
constexpr std::int64_t many = 200;  // conjugate gradients: as many as the set has targets are exact

struct Problem {
  explicit Problem(std::int64_t outputs) : network({8, 8}, 2, outputs), plain{8, 8, 1, 2, outputs, beta} {
    parameters = network.initial(random, at::kDouble);
    images = draw({4, 64});
    targets = draw({4, outputs});
    outer_images = draw({6, 64});
    const Tensor classes = at::arange(6, at::kLong) % std::max<std::int64_t>(outputs, 2);
    outer_targets =
        outputs == 1 ? (classes * 2 - 1).to(at::kDouble).unsqueeze(1) : at::one_hot(classes, outputs).to(at::kDouble);
  }
  Tensor draw(at::IntArrayRef sizes) { return at::randn(sizes, random, at::kDouble); }
  ConvexifiedTraining training() const { return {network, parameters, images, targets, ridge, relu}; }

  ConvolutionalNetwork network;
  reference::Convolutions plain;
  Generator random = seeded(5);
  Tensor parameters, images, targets, outer_images, outer_targets;
};

double error(const Tensor& value, const Tensor& expected) {
  return ((value - expected).norm() / expected.norm()).item<double>();
}

Tensor outer_loss(const Tensor& outputs, const Tensor& targets, const Tensor& log_scale) {
  const Tensor scaled = outputs * log_scale.exp();
  if (outputs.size(1) == 1) return torch::softplus(-targets * scaled).mean();
  return -(torch::log_softmax(scaled, 1) * targets).sum(1).mean();
}

// The loss on the outer images at t, as is.
double outer_loss_at(const Problem& problem, const Tensor& moved) {
  return problem.training().meta_gradient(moved, problem.outer_images, problem.outer_targets, log_temperature, 0).loss;
}

// d value / d tensor in the direction, by central differences.
template <typename Value>
double slope(Tensor& tensor, const Tensor& direction, const Value& value) {
  constexpr double step = 1e-5;
  tensor.add_(direction, step);
  const double above = value();
  tensor.sub_(direction, 2 * step);
  const double below = value();
  tensor.add_(direction, step);
  return (above - below) / (2 * step);
}

double product(const Tensor& a, const Tensor& b) { return (a * b).sum().item<double>(); }

}  // namespace

TEST_CASE("with the dense layer solved for, the loss, its gradient and its Hessian are those of the explicit problem") {
  Problem problem(3);
  const ConvexifiedTraining training = problem.training();
  const reference::Training plain(problem.plain, problem.parameters, problem.images, problem.targets, ridge);
  const Tensor moved = problem.draw({problem.network.body()}).mul_(0.1).requires_grad_(true);
  const Tensor loss = plain.loss(moved) / ridge;
  const Tensor gradient = torch::autograd::grad({loss}, {moved}, {}, true, true)[0];
  CHECK(training.loss(moved.detach()) == Approx(loss.item<double>()).epsilon(1e-10));
  CHECK(error(training.gradient(moved.detach()), gradient.detach()) < 1e-9);

  const Tensor direction = problem.draw({problem.network.body()});
  const Tensor expected = torch::autograd::grad({gradient}, {moved}, {direction}, true)[0];
  CHECK(error(training.hessian_times(direction), expected.detach()) < 1e-9);
}

TEST_CASE("training on a kernel that its ridge leaves indefinite is refused with the reason") {
  Problem problem(3);
  CHECK_THROWS_WITH(
      ConvexifiedTraining(problem.network, problem.parameters, problem.images, problem.targets, -1e9, relu),
      Catch::Contains("not positive definite"));
}

TEST_CASE("the minimum's outputs are kernel ridge regression in the tangent kernel of all parameters") {
  Problem problem(3);
  const ConvexifiedTraining training = problem.training();
  const auto minimum = training.minimum(many);
  CHECK(minimum.residual < 1e-9);
  CHECK(training.gradient(minimum.value).norm().item<double>() < 1e-8);

  const auto all_tangents = [&](const Tensor& images) {  // [n C, P + C (F + 1)]
    const Tensor phi = problem.plain.features(problem.parameters.narrow(0, 0, problem.network.body()), images);
    const Tensor eye = at::eye(3, phi.options());
    return at::cat({problem.plain.jacobian(problem.parameters, images).detach(), at::kron(phi, eye)}, 1);
  };
  const Tensor on_set = all_tangents(problem.images), on_outer = all_tangents(problem.outer_images);
  const Tensor kernel = at::matmul(on_set, on_set.t()) + ridge * at::eye(12, on_set.options());
  const Tensor dual = at::linalg_solve(kernel, problem.targets.reshape({-1, 1}));
  const Tensor expected = at::matmul(on_outer, at::matmul(on_set.t(), dual)).reshape({6, 3});
  const Linearization outer(problem.network, problem.parameters, problem.outer_images, relu);
  CHECK(error(training.predict(outer, minimum.value), expected) < 1e-9);
}

TEST_CASE("the outer gradient is that of differentiating through all steps of training") {
  for (const std::int64_t outputs : {1, 3}) {
    Problem problem(outputs);
    const Tensor images = problem.images.clone().requires_grad_(true);
    const Tensor targets = problem.targets.clone().requires_grad_(true);
    const Tensor log_scale = at::full({}, log_temperature, at::kDouble).requires_grad_(true);
    const reference::Training plain(problem.plain, problem.parameters, images, targets, ridge);
    const Tensor unrolled = plain.descend(1000);
    const Tensor body = problem.parameters.narrow(0, 0, problem.network.body());
    const Tensor outer_jacobian = problem.plain.jacobian(problem.parameters, problem.outer_images).detach();
    const Tensor f = at::matmul(outer_jacobian, unrolled).reshape({6, outputs}) +
                     at::matmul(problem.plain.features(body, problem.outer_images), plain.weights(unrolled));
    const Tensor loss = outer_loss(f, problem.outer_targets, log_scale);
    const auto expected = torch::autograd::grad({loss}, {images, targets, log_scale});

    const ConvexifiedTraining training = problem.training();
    const auto minimum = training.minimum(many);
    REQUIRE(error(unrolled.detach(), minimum.value) < 1e-8);
    const MetaGradient gradient =
        training.meta_gradient(minimum.value, problem.outer_images, problem.outer_targets, log_temperature, many);
    CHECK(gradient.loss == Approx(loss.item<double>()).epsilon(1e-9));
    CHECK(error(gradient.direct.images + gradient.implicit.images, expected[0]) < 1e-7);
    CHECK(error(gradient.direct.targets + gradient.implicit.targets, expected[1]) < 1e-7);
    CHECK(gradient.by_log_temperature == Approx(expected[2].item<double>()).epsilon(1e-8));
    // Neither part alone would do.
    CHECK(gradient.direct.images.norm().item<double>() > 1e-3 * expected[0].norm().item<double>());
    CHECK(gradient.implicit.images.norm().item<double>() > 1e-3 * expected[0].norm().item<double>());
  }
}

TEST_CASE("the outer gradient is that of finite differences of the outer loss at the minimum") {
  Problem problem(3);
  const auto at_minimum = [&] { return outer_loss_at(problem, problem.training().minimum(many).value); };
  const ConvexifiedTraining training = problem.training();
  const MetaGradient gradient = training.meta_gradient(training.minimum(many).value, problem.outer_images,
                                                       problem.outer_targets, log_temperature, many);
  const Tensor by_images = gradient.direct.images + gradient.implicit.images;
  const Tensor by_targets = gradient.direct.targets + gradient.implicit.targets;
  const Tensor pixels = problem.draw({4, 64}), labels = problem.draw({4, 3});
  CHECK(slope(problem.images, pixels, at_minimum) == Approx(product(by_images, pixels)).epsilon(1e-6));
  CHECK(slope(problem.targets, labels, at_minimum) == Approx(product(by_targets, labels)).epsilon(1e-6));
}

TEST_CASE("the direct part alone is that of finite differences through the dense layer's solution") {
  Problem problem(3);
  const Tensor moved = problem.draw({problem.network.body()}).mul_(0.1);
  const auto value = [&] { return outer_loss_at(problem, moved); };
  const MetaGradient gradient =
      problem.training().meta_gradient(moved, problem.outer_images, problem.outer_targets, log_temperature, 0);
  const Tensor pixels = problem.draw({4, 64}), labels = problem.draw({4, 3});
  CHECK(slope(problem.images, pixels, value) == Approx(product(gradient.direct.images, pixels)).epsilon(1e-6));
  CHECK(slope(problem.targets, labels, value) == Approx(product(gradient.direct.targets, labels)).epsilon(1e-6));
}

TEST_CASE("accuracy on the outer images counts the sign of one output and the largest of several") {
  for (const std::int64_t outputs : {1, 3}) {
    const Problem problem(outputs);
    const ConvexifiedTraining training = problem.training();
    const Tensor moved = training.minimum(many).value;
    const Linearization outer(problem.network, problem.parameters, problem.outer_images, relu);
    const Tensor f = training.predict(outer, moved);
    std::int64_t right = 0;
    for (std::int64_t i = 0; i < 6; ++i) {
      right += outputs == 1 ? (f[i][0].item<double>() > 0) == (problem.outer_targets[i][0].item<double>() > 0)
                            : f[i].argmax().item<std::int64_t>() == i % outputs;
    }
    CHECK(training.meta_gradient(moved, problem.outer_images, problem.outer_targets, 0, 0).accuracy ==
          Approx(static_cast<double>(right) / 6));
  }
}

}  // namespace afterimage
