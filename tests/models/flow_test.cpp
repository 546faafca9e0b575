#include "models/tangent/flow.h"

#include <catch2/catch.hpp>
#include <functional>

#include "models/mlp.h"

namespace afterimage {
namespace {

struct Problem {
  Mlp network;
  Parameters start;
  Tensor images, targets;

  explicit Problem(std::int64_t outputs = 1) : network(20, {256, 256}, outputs, Parameterization::standard) {
    Generator random = seeded(3);
    start = network.draw_initial(random).value().to(at::kDouble);
    images = at::randn({6, 20}, random, at::kDouble);
    targets = (at::arange(6 * outputs).remainder(2) * 2 - 1).to(at::kDouble).view({6, outputs});
  }
  double squared_residual(const Parameters& at) const {
    return (targets - network.evaluate(at, images)).square().sum().item<double>();
  }
  // Gradient descent with steps so small that it is the flow, until |r|^2 has fallen to `wanted`.
  Parameters descended(double wanted) const {
    Parameters at = start;
    while (squared_residual(at) > wanted) {
      at = at.plus(network.pullback(at, images, [&](const Tensor& outputs) { return targets - outputs; }), 2e-5);
    }
    return at;
  }
};

double relative(const Parameters& a, const Parameters& b, const Parameters& from) {
  return std::sqrt(a.minus(b).squared_norm() / b.minus(from).squared_norm());
}

// A small network, its initial and trained weights, and images of which some are followed by the flow.
struct Differentiated {
  Mlp network;
  Parameters start, trained;
  FlowImages set;

  Differentiated(std::int64_t hidden_layers, std::int64_t outputs, std::int64_t free, const FlowPlan& plan,
                 Parameterization parameterization)
      : network(7, std::vector<std::int64_t>(static_cast<std::size_t>(hidden_layers), 12), outputs, parameterization) {
    constexpr std::int64_t following = 4;
    Generator random = seeded(5);
    start = network.draw_initial(random).value().to(at::kDouble);
    trained = start.clone();
    for (const auto& [name, tensor] : trained.entries()) {
      tensor.add_(at::randn(tensor.sizes(), random, at::kDouble), 0.1);
    }
    set.images = at::randn({following + free, 7}, random, at::kDouble);
    set.targets = at::randn({following, outputs}, random, at::kDouble);
    if (free > 0) set.coefficients = at::randn({plan.segments, free, outputs}, random, at::kDouble).mul_(0.1);
  }
  FlowLoss loss(const FlowPlan& plan, Smoothing relu, const std::vector<double>& times = {}) const {
    return flow_loss(network, start, trained, set, plan, relu, times);
  }
};

// The derivative of `value` as `moved` moves along `direction`, from four points, with an error of fifth order.
double finite_difference(Tensor& moved, const Tensor& direction, double step, const std::function<double()>& value) {
  const Tensor middle = moved;
  const auto at = [&](double steps) {
    moved = middle + steps * step * direction;
    return value();
  };
  const double slope = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step);
  moved = middle;
  return slope;
}

}  // namespace

TEST_CASE("the gradient of the flow's mismatch is that of finite differences") {
  const auto depth = GENERATE(1, 2, 3);
  const auto outputs = GENERATE(1, 3);
  const auto free = GENERATE(0, 2);
  const auto segments = GENERATE(1, 2, 4);
  const auto parameterization = GENERATE(Parameterization::standard, Parameterization::ntk);
  CAPTURE(depth, outputs, free, segments, parameterization);
  const FlowPlan plan{segments, 0.5, 1e-3};
  Differentiated problem(depth, outputs, free, plan, parameterization);
  const Smoothing relu{10};
  const FlowLoss loss = problem.loss(plan, relu);
  REQUIRE(loss.times.size() == static_cast<std::size_t>(segments));
  Generator random = seeded(6);
  const auto check = [&](Tensor& moved, const Tensor& gradient) {
    const Tensor direction = at::randn(moved.sizes(), random, at::kDouble);
    const double measured =
        finite_difference(moved, direction, 1e-4, [&] { return problem.loss(plan, relu, loss.times).value; });
    CHECK((gradient * direction).sum().item<double>() == Approx(measured).epsilon(1e-6));
  };
  check(problem.set.images, loss.by_images);
  if (free > 0) check(problem.set.coefficients, loss.by_coefficients);
}

TEST_CASE("with the ReLU itself the gradient is right wherever no kink is crossed") {
  const FlowPlan plan{3, 0.5, 1e-3};
  Differentiated problem(2, 2, 1, plan, Parameterization::standard);
  const FlowLoss loss = problem.loss(plan, {});
  Generator random = seeded(6);
  const Tensor direction = at::randn(problem.set.images.sizes(), random, at::kDouble);
  const double measured =
      finite_difference(problem.set.images, direction, 1e-7, [&] { return problem.loss(plan, {}, loss.times).value; });
  CHECK((loss.by_images * direction).sum().item<double>() == Approx(measured).epsilon(1e-6));
}

TEST_CASE("the mismatch is the distance to the end of the path, and zero at it") {
  const Problem problem;
  const FlowPlan plan{6, 0.5, 1e-6};
  const auto path = gradient_flow(problem.network, problem.start, problem.images, problem.targets, plan);
  const FlowImages set{problem.images, problem.targets, {}};
  CHECK(flow_loss(problem.network, problem.start, path.back(), set, plan, {}).value < 1e-20);
  const auto middle = flow_loss(problem.network, problem.start, path[2], set, plan, {});
  CHECK(middle.value ==
        Approx(path.back().minus(path[2]).squared_norm() / path[2].minus(problem.start).squared_norm()).epsilon(1e-10));
}

TEST_CASE("images outside the flow move parameters by their own coefficients, segment by segment") {
  const FlowPlan plan{1, 0.5, 1e-3};
  Differentiated problem(2, 2, 3, plan, Parameterization::ntk);
  const std::int64_t following = problem.set.targets.size(0);
  const auto alone = gradient_flow(problem.network, problem.start, problem.set.images.narrow(0, 0, following),
                                   problem.set.targets, plan);
  const Tensor others = problem.set.images.narrow(0, following, 3);
  const Parameters moved =
      problem.network.pullback(problem.start, others, [&](const Tensor&) { return problem.set.coefficients[0]; });
  problem.trained = alone.back().plus(moved);
  CHECK(problem.loss(plan, {}).value < 1e-20);
}

TEST_CASE("in a basis the flow, its mismatch and its gradient are those of the images") {
  const FlowPlan plan{3, 0.5, 1e-3};
  const auto parameterization = GENERATE(Parameterization::standard, Parameterization::ntk);
  Differentiated problem(2, 2, 1, plan, parameterization);
  // The images' own span; the trained weights move inside it, as in training.
  const Tensor basis = std::get<0>(at::linalg_qr(problem.set.images.t())).t().contiguous();
  problem.trained = problem.start.plus(problem.network.pullback(
      problem.start, problem.set.images, [](const Tensor& outputs) { return at::ones_like(outputs); }));
  const FlowLoss expected = problem.loss(plan, {20});
  FlowImages set = problem.set;
  set.images = at::mm(set.images, basis.t());
  const FlowLoss found = flow_loss(problem.network, problem.network.in_basis(problem.start, basis),
                                   problem.network.in_basis(problem.trained, basis), set, plan, {20});
  CHECK(found.value == Approx(expected.value).epsilon(1e-9));
  CHECK((found.by_images - at::mm(expected.by_images, basis.t())).norm().item<double>() <
        1e-8 * expected.by_images.norm().item<double>());
}

TEST_CASE("the flow follows real training at every segment, and the closer the more segments there are") {
  const Problem problem;
  const double residual = problem.squared_residual(problem.start);
  double before = 1;
  for (const std::int64_t segments : {2, 4, 8}) {
    // All but the last end where half of the whole squared residual is left.
    const double keep = std::pow(0.5, 1.0 / static_cast<double>(segments));
    const auto path =
        gradient_flow(problem.network, problem.start, problem.images, problem.targets, {segments + 1, keep, 1e-9});
    REQUIRE(path.size() == static_cast<std::size_t>(segments) + 2);
    const Parameters& middle = path[static_cast<std::size_t>(segments)];
    const Parameters real = problem.descended(problem.squared_residual(middle));
    const double error = relative(middle, real, problem.start);
    CAPTURE(segments, error);
    CHECK(problem.squared_residual(middle) == Approx(0.5 * residual).epsilon(0.1));
    CHECK(error < 0.7 * before);
    before = error;
  }
  CHECK(before < 0.02);
}

TEST_CASE("each segment of the flow leaves the stated share of the residual, and the last fits its images") {
  const auto outputs = GENERATE(1, 3);
  const Problem problem(outputs);
  constexpr std::size_t segments = 3;
  constexpr double keep = 0.6;
  const auto path =
      gradient_flow(problem.network, problem.start, problem.images, problem.targets, {segments, keep, 1e-9});
  REQUIRE(path.size() == segments + 1);
  for (std::size_t k = 0; k < segments; ++k) {
    CAPTURE(outputs, k);
    const Parameters& from = path[k];
    const Parameters step = path[k + 1].minus(from);
    const Tensor before = problem.targets - problem.network.evaluate(from, problem.images);
    const Tensor after = before - problem.network.pushforward(from, step, problem.images);
    const double left = after.square().sum().item<double>() / before.square().sum().item<double>();
    if (k + 1 < segments) {
      CHECK(left == Approx(keep).epsilon(1e-6));
    } else {
      CHECK(left < 1e-12);  // float64, and a ridge of 1e-9
    }
  }
}

TEST_CASE("a flow without images or segments is refused") {
  const Problem problem;
  CHECK_THROWS_AS(
      gradient_flow(problem.network, problem.start, problem.images.slice(0, 0, 0), problem.targets.slice(0, 0, 0)),
      std::invalid_argument);
  CHECK_THROWS_AS(gradient_flow(problem.network, problem.start, problem.images, problem.targets, {0, 0.6, 1e-9}),
                  std::invalid_argument);
  const FlowImages half{problem.images, problem.targets.slice(0, 0, 3), {}};
  CHECK_THROWS_AS(flow_loss(problem.network, problem.start, problem.start, half, {}, {}), std::invalid_argument);
}

}  // namespace afterimage
