#include "models/tangent/mlp_tangents.h"

#include <catch2/catch.hpp>

#include "models/mlp.h"
#include "tests/models/tangent_reference.h"

namespace afterimage {
namespace {

constexpr std::int64_t image_size = 12, image_count = 5;

struct Problem {
  Mlp network;
  Parameters initial, trained;
  std::vector<double> scales, points;
  Tensor images, coefficients;

  Problem(std::int64_t hidden_layers, std::int64_t outputs, std::vector<double> at, Parameterization parameterization,
          at::ScalarType dtype)
      : network(image_size, std::vector<std::int64_t>(hidden_layers, 16), outputs, parameterization),
        points(std::move(at)) {
    Generator random = seeded(7);
    initial = network.draw_initial(random).value().to(dtype);
    trained = initial.clone();
    for (const auto& [name, tensor] : trained.entries()) {
      tensor.add_(at::randn(tensor.sizes(), random, at::kFloat).to(dtype), 0.05);
    }
    for (std::int64_t l = 0; l < network.layers(); ++l) scales.push_back(network.weight_scale(l));
    images = at::randn({image_count, image_size}, random, at::kFloat).to(dtype);
    coefficients = at::randn({image_count, static_cast<std::int64_t>(points.size()) * outputs}, random, at::kFloat)
                       .to(dtype)
                       .mul_(0.1);
  }
};

double relative_error(const Tensor& a, const Tensor& b) { return ((a - b).norm() / b.norm()).item<double>(); }

const std::vector<std::vector<double>> point_lists = {{1.0}, {0.0, 0.5, 1.0}};

}  // namespace

TEST_CASE("the closed-form loss and its gradients are those of double backward through explicit features") {
  const auto depth = GENERATE(0, 1, 2, 3, 4);
  const auto outputs = GENERATE(1, 10);
  const auto points = GENERATE(from_range(point_lists));
  const auto parameterization = GENERATE(Parameterization::standard, Parameterization::ntk);
  const double beta = GENERATE(11.0, 200.0, std::numeric_limits<double>::infinity());
  CAPTURE(depth, outputs, points, beta, parameterization);
  const Problem in_double(depth, outputs, points, parameterization, at::kDouble);
  const auto exact = reference::tangent_loss(in_double.initial, in_double.trained, in_double.scales, points,
                                             in_double.images, in_double.coefficients, {beta});
  for (const auto dtype : {at::kDouble, at::kFloat}) {
    CAPTURE(dtype);
    const Problem problem(depth, outputs, points, parameterization, dtype);
    const auto target = problem.network.tangents(problem.initial, problem.trained, points);
    const auto& loss = target->loss(problem.images, problem.coefficients, {beta});
    // float64 leaves rounding alone. float32 rounds at 1.2e-7; at beta = 200 the slope sigmoid(200 z) amplifies what z
    // was rounded by two hundredfold, to 2.4e-5, however it is computed.
    const double in_single = beta == 200 ? 200 * 1.2e-7 : 1e-5;
    const auto check = [&](const Tensor& found, const Tensor& expected) {
      CHECK(relative_error(found.to(at::kDouble), expected) < (dtype == at::kDouble ? 1e-10 : in_single));
    };
    CHECK(loss.value == Approx(exact.value).epsilon(dtype == at::kDouble ? 1e-10 : 1e-5));
    check(loss.by_images, exact.by_images);
    check(loss.by_coefficients, exact.by_coefficients);
  }
}

TEST_CASE("weights and biases that training did not change have no part in loss, kernel and held images") {
  const auto frozen =
      GENERATE(std::vector<std::size_t>{0}, std::vector<std::size_t>{3}, std::vector<std::size_t>{0, 1, 2},
               std::vector<std::size_t>{4, 5}, std::vector<std::size_t>{1, 4});
  const auto images_wide = GENERATE(false, true);  // few images: Gram matrices; many: residuals are formed
  Problem problem(2, 3, {0.0, 1.0}, Parameterization::ntk, at::kDouble);
  if (images_wide) {
    problem.images = problem.images.repeat({20, 1}) + 0.1 * at::randn({20 * image_count, image_size}, at::kDouble);
    problem.coefficients = problem.coefficients.repeat({20, 1});
  }
  for (const auto i : frozen) problem.trained[i].copy_(problem.initial[i]);
  CAPTURE(frozen, images_wide);
  const auto target = problem.network.tangents(problem.initial, problem.trained, problem.points);
  const auto exact = reference::tangent_loss(problem.initial, problem.trained, problem.scales, problem.points,
                                             problem.images, problem.coefficients, {50});
  const auto& loss = target->loss(problem.images, problem.coefficients, {50});
  CHECK(loss.value == Approx(exact.value).epsilon(1e-10));
  CHECK(relative_error(loss.by_images, exact.by_images) < 1e-10);
  CHECK(relative_error(loss.by_coefficients, exact.by_coefficients) < 1e-10);

  const Tensor some = problem.images.narrow(0, 0, 4);
  const Tensor features =
      reference::features(problem.initial, problem.trained, problem.scales, problem.points, some, {});
  CHECK(relative_error(target->gram(some, {}), at::mm(features, features.t())) < 1e-10);
  const std::int64_t two = 2 * target->features_per_image();
  CHECK(relative_error(target->gram_of_first(2, some, {}), at::mm(features.narrow(0, 0, two), features.t())) < 1e-10);

  // Only held images are projected out, by least squares with the ridge.
  target->hold(some);
  const Tensor drift = reference::flatten(problem.trained.minus(problem.initial)).unsqueeze(1);
  Tensor kernel = at::mm(features, features.t());
  kernel.diagonal().add_(1e-6 * kernel.diagonal().mean().item<double>());
  const Tensor inner = at::mm(features, drift);
  const double explained = at::mm(inner.t(), at::linalg_solve(kernel, inner)).item<double>();
  const auto& held = target->loss(problem.images, at::zeros_like(problem.coefficients), {});
  CHECK(held.value == Approx(target->squared_norm() - explained).epsilon(1e-9));
}

TEST_CASE("held images are projected out of the loss and of its gradients") {
  const auto outputs = GENERATE(1, 3);
  const Problem problem(2, outputs, {0.0, 0.5, 1.0}, Parameterization::ntk, at::kDouble);
  Generator random = seeded(9);
  const Tensor held = at::randn({4, image_size}, random, at::kDouble);
  const auto target = problem.network.tangents(problem.initial, problem.trained, problem.points);
  const auto plain = problem.network.tangents(problem.initial, problem.trained, problem.points);
  target->hold(held);
  const auto& loss = target->loss(problem.images, problem.coefficients, {});

  // The same by the kernel of all images together: the held images' coefficients solve their part of K c = b.
  const Tensor all = at::cat({problem.images, held});
  const std::int64_t free = problem.coefficients.numel();
  const Tensor kernel = plain->gram(all, {}), inner = plain->inner(all, {}).reshape({-1});
  Tensor own = kernel.slice(0, free).slice(1, free).clone();
  const double ridge = 1e-6 * own.diagonal().mean().item<double>();
  own.diagonal().add_(ridge);
  const Tensor wanted =
      inner.slice(0, free) - at::mv(kernel.slice(0, free).slice(1, 0, free), problem.coefficients.reshape({-1}));
  const Tensor best = at::cholesky_solve(wanted.unsqueeze(1), at::linalg_cholesky(own)).squeeze(1);
  const auto& expected = plain->loss(all, at::cat({problem.coefficients, best.view({held.size(0), -1})}), {});
  CHECK(loss.value == Approx(expected.value + ridge * best.square().sum().item<double>()).epsilon(1e-9));
  CHECK(relative_error(loss.by_images, expected.by_images.slice(0, 0, image_count)) < 1e-9);
  CHECK(relative_error(loss.by_coefficients, expected.by_coefficients.slice(0, 0, image_count)) < 1e-9);

  target->hold({});
  CHECK(target->loss(problem.images, problem.coefficients, {}).value ==
        Approx(plain->loss(problem.images, problem.coefficients, {}).value).epsilon(1e-12));
}

TEST_CASE("more images than a layer is wide have the same gradients as few") {
  // With these sizes residuals are formed, with fewer images Gram matrices are used; the loss is a sum over images only
  // in its linear part, so both are checked against double backward.
  Problem problem(2, 1, {0.0, 1.0}, Parameterization::standard, at::kDouble);
  Generator random = seeded(4);
  for (const std::int64_t count : {1, 3, 40, 90}) {
    CAPTURE(count);
    const Tensor images = at::randn({count, image_size}, random, at::kDouble);
    const Tensor coefficients = at::randn({count, 2}, random, at::kDouble).mul_(0.05);
    const auto exact = reference::tangent_loss(problem.initial, problem.trained, problem.scales, problem.points, images,
                                               coefficients, {30});
    const auto target = problem.network.tangents(problem.initial, problem.trained, problem.points);
    const auto& loss = target->loss(images, coefficients, {30});
    CHECK(loss.value == Approx(exact.value).epsilon(1e-10));
    CHECK(relative_error(loss.by_images, exact.by_images) < 1e-10);
    CHECK(relative_error(loss.by_coefficients, exact.by_coefficients) < 1e-10);
  }
}

TEST_CASE("image gradients are those of finite differences") {
  const Problem problem(2, 1, {0.0, 1.0}, Parameterization::standard, at::kDouble);
  const Smoothing relu{20};
  const auto target = problem.network.tangents(problem.initial, problem.trained, problem.points);
  const Tensor gradient = target->loss(problem.images, problem.coefficients, relu).by_images.clone();
  const double step = 1e-5;
  for (std::int64_t pixel = 0; pixel < image_size; ++pixel) {
    Tensor shift = at::zeros_like(problem.images);
    shift[1][pixel] = step;
    const double up = target->loss(problem.images + shift, problem.coefficients, relu).value;
    const double down = target->loss(problem.images - shift, problem.coefficients, relu).value;
    CHECK(gradient[1][pixel].item<double>() == Approx((up - down) / (2 * step)).epsilon(1e-5).margin(1e-7));
  }
}

TEST_CASE("kernel and inner products are those of explicit features") {
  const auto depth = GENERATE(0, 1, 2, 3, 4);
  const auto outputs = GENERATE(1, 10);
  const auto points = GENERATE(from_range(point_lists));
  const double beta = GENERATE(50.0, std::numeric_limits<double>::infinity());
  const Problem problem(depth, outputs, points, Parameterization::ntk, at::kDouble);
  const Tensor features =
      reference::features(problem.initial, problem.trained, problem.scales, points, problem.images, {beta});
  const Tensor drift = reference::flatten(problem.trained.minus(problem.initial));
  const auto target = problem.network.tangents(problem.initial, problem.trained, points);

  CHECK(relative_error(target->gram(problem.images, {beta}), at::mm(features, features.t())) < 1e-10);
  CHECK(relative_error(target->inner(problem.images, {beta}).reshape({-1}), at::mv(features, drift)) < 1e-10);
  CHECK(target->squared_norm() == Approx(drift.pow(2).sum().item<double>()).epsilon(1e-10));
}

TEST_CASE("coordinates in a basis have the loss and gradient of the images that they represent") {
  const Problem problem(2, 1, {0.0, 1.0}, Parameterization::standard, at::kDouble);
  Generator random = seeded(3);
  const Tensor basis = std::get<0>(at::linalg_qr(at::randn({image_size, 4}, random, at::kDouble))).t().contiguous();
  const Tensor coordinates = at::randn({image_count, 4}, random, at::kDouble);
  const auto in_pixels = problem.network.tangents(problem.initial, problem.trained, problem.points);
  const auto in_span = problem.network.tangents_at(points_between(problem.initial, problem.trained, problem.points),
                                                   problem.trained.minus(problem.initial), basis);
  const auto& expected = in_pixels->loss(at::mm(coordinates, basis), problem.coefficients, {30});
  const auto& loss = in_span->loss(coordinates, problem.coefficients, {30});
  CHECK(loss.value == Approx(expected.value).epsilon(1e-10));
  CHECK(relative_error(loss.by_images, at::mm(expected.by_images, basis.t())) < 1e-10);
}

TEST_CASE("variable projection finds coefficients at which the loss cannot be lowered") {
  const Problem problem(2, 1, {0.0, 1.0}, Parameterization::standard, at::kDouble);
  const auto target = problem.network.tangents(problem.initial, problem.trained, problem.points);
  const auto best = project(*target, problem.images, {}, 1e-12);
  const auto& loss = target->loss(problem.images, best.coefficients, {});
  CHECK(loss.value / target->squared_norm() == Approx(best.relative_residual).epsilon(1e-6));
  CHECK(loss.by_coefficients.abs().max().item<double>() < 1e-6 * target->squared_norm());
}

TEST_CASE("a drift that is a sum of the images' features is explained completely") {
  Problem problem(2, 1, {0.0}, Parameterization::standard, at::kDouble);
  const Tensor weights = at::arange(1, image_count + 1, at::kDouble).div_(50).unsqueeze(1);
  const Parameters step =
      problem.network.pullback(problem.initial, problem.images, [&](const Tensor&) { return weights; });
  std::vector<Parameters::Entry> moved;
  for (std::size_t i = 0; i < step.size(); ++i) {
    moved.emplace_back(step.entries()[i].first, problem.initial[i] + step[i]);
  }
  const auto target = problem.network.tangents(problem.initial, Parameters(moved), {0.0});
  const auto best = project(*target, problem.images, {}, 1e-13);
  CHECK(best.relative_residual < 1e-9);
  CHECK(relative_error(best.coefficients, weights) < 1e-6);
}

TEST_CASE("gradients by the image agree with finite differences, and are returned with the outputs") {
  Generator random = seeded(12);
  const auto parameterization = GENERATE(Parameterization::standard, Parameterization::ntk);
  const Mlp network(7, {9, 8}, 3, parameterization);
  const Parameters parameters = network.draw_initial(random).value().to(at::kDouble);
  const Tensor images = at::randn({5, 7}, random, at::kDouble), cotangents = at::randn({5, 3}, random, at::kDouble);
  const auto sloped = network.input_gradient(parameters, images, cotangents);
  CHECK(at::equal(sloped.outputs, network.evaluate(parameters, images)));
  const Tensor direction = at::randn({5, 7}, random, at::kDouble);
  constexpr double step = 1e-7;  // small enough that no ReLU is crossed
  const auto value = [&](double along) {
    return (cotangents * network.evaluate(parameters, images + along * direction)).sum().item<double>();
  };
  CHECK((sloped.gradient * direction).sum().item<double>() ==
        Approx((value(step) - value(-step)) / (2 * step)).epsilon(1e-6));
}

TEST_CASE("pushforward and pullback are adjoint") {
  const Problem problem(3, 4, {0.0}, Parameterization::ntk, at::kDouble);
  Generator random = seeded(5);
  const Tensor cotangents = at::randn({image_count, 4}, random, at::kDouble);
  const Parameters drift = problem.trained.minus(problem.initial);
  const Parameters pulled =
      problem.network.pullback(problem.initial, problem.images, [&](const Tensor&) { return cotangents; });
  const Tensor pushed = problem.network.pushforward(problem.initial, drift, problem.images);
  CHECK(pulled.inner(drift) == Approx((pushed * cotangents).sum().item<double>()).epsilon(1e-12));
}

TEST_CASE("the loss of some neurons is the residual of explicit features of their parameters") {
  const auto depth = GENERATE(1, 2, 3);
  const auto outputs = GENERATE(1, 3);
  const auto points = GENERATE(from_range(point_lists));
  CAPTURE(depth, outputs, points);
  const Problem problem(depth, outputs, points, Parameterization::ntk, at::kDouble);
  const Parameters drift = problem.trained.minus(problem.initial);
  std::vector<Parameters> at_points;
  Parameters rest = drift.clone();
  for (std::size_t p = 0; p < points.size(); ++p) {
    at_points.push_back(problem.initial.plus(drift, points[p]));
    const Tensor some = problem.coefficients.narrow(1, static_cast<std::int64_t>(p) * outputs, outputs);
    rest = rest.minus(problem.network.pullback(at_points.back(), problem.images, [&](const Tensor&) { return some; }));
  }
  const Tensor neurons = at::tensor(std::vector<std::int64_t>{3, 11, 12, 0});
  const auto last = static_cast<std::size_t>(2 * depth);
  const auto part = [&](const Parameters& whole) {
    return (whole[last - 2].index_select(0, neurons).square().sum() +
            whole[last - 1].index_select(0, neurons).square().sum() +
            whole[last].index_select(1, neurons).square().sum() + whole[last + 1].square().sum())
        .item<double>();
  };
  const auto target = problem.network.tangents_of_neurons(neurons, at_points, drift, {});
  CHECK(target->squared_norm() == Approx(part(drift)).epsilon(1e-10));
  CHECK(target->loss(problem.images, problem.coefficients, {}).value == Approx(part(rest)).epsilon(1e-9));

  // By coordinates in a basis, as the attack uses it.
  const auto [u, sizes, basis] = at::linalg_svd(problem.images, false);
  const auto in_basis = problem.network.tangents_of_neurons(neurons, at_points, drift, basis);
  const Tensor coordinates = at::mm(problem.images, basis.t());
  CHECK(in_basis->loss(coordinates, problem.coefficients, {}).value == Approx(part(rest)).epsilon(1e-9));

  // The gradients, at a smooth activation, against differences.
  constexpr double step = 1e-6;
  Generator random = seeded(3);
  const Tensor along = at::randn(problem.images.sizes(), random, at::kDouble),
               along_too = at::randn(problem.coefficients.sizes(), random, at::kDouble);
  const auto value_at = [&](double t) {
    return target->loss(problem.images + t * along, problem.coefficients + t * along_too, {11}).value;
  };
  const double difference = (value_at(step) - value_at(-step)) / (2 * step);
  const auto& loss = target->loss(problem.images, problem.coefficients, {11});
  const double slope = ((loss.by_images * along).sum() + (loss.by_coefficients * along_too).sum()).item<double>();
  CHECK(slope == Approx(difference).epsilon(1e-6));
}

}  // namespace afterimage
