#include "models/tangent/deviation.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "models/mlp.h"
#include "tests/models/opaque_network.h"
#include "tests/models/tangent_reference.h"

namespace afterimage {
namespace {

constexpr std::int64_t image_size = 6, width = 16, layers = 3, training_count = 4, control_count = 3;

Parameters moved(const Parameters& from, double by, Generator& random) {
  Parameters to = from.clone();
  for (const auto& [name, tensor] : to.entries()) {
    tensor.add_(at::randn(tensor.sizes(), random, at::kFloat).to(tensor.scalar_type()), by);
  }
  return to;
}

// A network whose weights have moved by half their size, so that features at its two ends differ widely.
struct Problem {
  Mlp network;
  Parameters initial, trained;
  Tensor training, control;
  std::vector<double> scales;

  Problem(std::int64_t outputs, at::ScalarType dtype)
      : network(image_size, {width, width}, outputs, Parameterization::ntk) {
    Generator random = seeded(11);
    initial = network.draw_initial(random).value().to(dtype);
    trained = moved(initial, 0.5, random);
    training = at::randn({training_count, image_size}, random, at::kFloat).to(dtype);
    control = at::randn({control_count, image_size}, random, at::kFloat).to(dtype);
    for (std::int64_t l = 0; l < layers; ++l) scales.push_back(network.weight_scale(l));
  }
  MeasuredDeviation measured() const { return measure_deviation(network, initial, trained, training, control); }
  Problem in_double() const {
    Problem wide = *this;
    wide.initial = initial.to(at::kDouble), wide.trained = trained.to(at::kDouble);
    wide.training = training.to(at::kDouble), wide.control = control.to(at::kDouble);
    return wide;
  }

  // The parts of the deviation by explicit features, in float64.
  Tensor change() const { return reference::flatten(trained) - reference::flatten(initial); }
  Tensor jacobian(const std::vector<double>& points, const Tensor& images) const {
    return reference::features(initial, trained, scales, points, images, {});
  }
  Tensor kernel(double point) const { return at::mm(jacobian({point}, training), jacobian({point}, training).t()); }
  Tensor outputs(double point, const Tensor& images) const {
    return reference::forward(reference::at_point(initial, trained, point), scales, images, {}).detach();
  }
  double linearization_error(const Tensor& images) const {
    const Tensor first = outputs(0, images), last = outputs(1, images);
    const Tensor step = at::mv(jacobian({0.0}, images), change()).view_as(first);
    return ((last - first - step).norm() / last.norm()).item<double>();
  }
  // The share of the change that lies outside the span of the images' features: an orthonormal basis of that span gives
  // it without a kernel to solve with.
  double residual(const std::vector<double>& points) const {
    const Tensor basis = std::get<0>(at::linalg_qr(jacobian(points, training).t()));
    return 1 - (at::mv(basis.t(), change()).square().sum() / change().square().sum()).item<double>();
  }
  Tensor coefficients() const {
    const Tensor features = jacobian({0.0, 1.0}, training);
    return at::linalg_solve(at::mm(features, features.t()), at::mv(features, change())).view({training_count, -1});
  }
};

double relative_error(const Tensor& a, const Tensor& b) { return ((a - b).norm() / b.norm()).item<double>(); }

double one_minus_cosine(const Tensor& a, const Tensor& b) {
  const Tensor x = a.flatten(), y = b.flatten();
  return 1 - at::dot(x, y).item<double>() / std::sqrt(at::dot(x, x).item<double>() * at::dot(y, y).item<double>());
}

// The kernel of infinite width of both hidden layers, image-major: zero between different outputs.
Tensor infinite_kernel(const Tensor& images, std::int64_t outputs) {
  const AnalyticNtk of_one(std::vector<AnalyticNtk::Layer>(layers, AnalyticNtk::Layer{1, 0, 1, 1}));
  const Tensor whole = at::zeros({images.size(0), outputs, images.size(0), outputs}, at::kDouble);
  for (std::int64_t c = 0; c < outputs; ++c) whole.select(3, c).select(1, c).copy_(of_one(images, images));
  return whole.reshape({images.size(0) * outputs, images.size(0) * outputs});
}

}  // namespace

TEST_CASE("the distance of two kernels is one minus the cosine between all their entries") {
  const Tensor one = at::eye(2, at::kDouble), stretched = at::diag(at::tensor({1.0, 3.0}, at::kDouble));
  CHECK(kernel_distance(one, stretched) == Approx(1 - 4 / std::sqrt(20.0)).epsilon(1e-12));
  CHECK(kernel_distance(stretched, one) == Approx(1 - 4 / std::sqrt(20.0)).epsilon(1e-12));
  CHECK(kernel_distance(at::ones({2, 2}, at::kDouble), one) == Approx(1 - 1 / std::sqrt(2.0)).epsilon(1e-12));
  CHECK(kernel_distance(stretched, 7 * stretched) == Approx(0).margin(1e-12));
  CHECK(kernel_distance(at::diag(at::tensor({2.0, 0.0}, at::kDouble)), at::diag(at::tensor({0.0, 5.0}, at::kDouble))) ==
        Approx(1).epsilon(1e-12));
}

TEST_CASE("every figure of the deviation is that of explicit features, for one output and for several") {
  const std::int64_t outputs = GENERATE(1, 3);
  const auto dtype = GENERATE(at::kDouble, at::kFloat);
  CAPTURE(outputs, dtype);
  const Problem problem(outputs, dtype), exact = problem.in_double();
  const auto [found, coefficients] = problem.measured();

  // Kernels are in float64 whatever the weights are in; the outputs that are linearized are in the weights' own type.
  const double in_own = dtype == at::kDouble ? 1e-9 : 1e-4;
  const Tensor infinite = infinite_kernel(exact.training, outputs);
  CHECK(found.kernel_distance.value() == Approx(one_minus_cosine(exact.kernel(0), exact.kernel(1))).epsilon(1e-9));
  CHECK(found.initial_to_infinite.value() == Approx(one_minus_cosine(exact.kernel(0), infinite)).epsilon(1e-9));
  CHECK(found.final_to_infinite.value() == Approx(one_minus_cosine(exact.kernel(1), infinite)).epsilon(1e-9));
  CHECK(found.linearization_error.value() == Approx(exact.linearization_error(exact.training)).epsilon(in_own));
  CHECK(found.linearization_error_control.value() == Approx(exact.linearization_error(exact.control)).epsilon(in_own));
  const Tensor start = reference::flatten(exact.initial);
  CHECK(found.relative_parameter_change.value() ==
        Approx((exact.change().norm() / start.norm()).item<double>()).epsilon(in_own));

  // The ridge on these kernels, of 1e-7 times the mean diagonal, shifts residuals by less than 1e-6. What features at
  // one end and at both ends leave is hundredths apart.
  CHECK(found.residual_at_truth.value() == Approx(exact.residual({0.0, 1.0})).epsilon(5e-6));
  CHECK(found.residual_at_truth_final.value() == Approx(exact.residual({1.0})).epsilon(5e-6));
  REQUIRE(coefficients.sizes() == at::IntArrayRef({training_count, 2 * outputs}));
  CHECK(relative_error(coefficients, exact.coefficients()) < 1e-3);

  const auto parameters = static_cast<double>(6 * 16 + 16 + 16 * 16 + 16 + 16 * outputs + outputs);
  CHECK(found.parameters_per_unknown.value() == Approx(parameters / (6 * 4)).epsilon(1e-12));
  CHECK(found.reason.empty());
}

TEST_CASE("a change made of initial features is explained by both end points, and not by the trained one alone") {
  const std::int64_t outputs = GENERATE(1, 3);
  CAPTURE(outputs);
  Problem problem(outputs, at::kDouble);
  Generator random = seeded(12);
  const Tensor weights = at::randn({training_count, outputs}, random, at::kDouble);
  problem.trained = problem.initial.plus(
      problem.network.pullback(problem.initial, problem.training, [&](const Tensor&) { return weights; }));
  const auto [found, coefficients] = problem.measured();
  CHECK(found.residual_at_truth.value() < 1e-5);  // the ridge leaves some 1e-7
  CHECK(found.residual_at_truth_final.value() > 0.01);
  CHECK(relative_error(coefficients, at::cat({weights, at::zeros_like(weights)}, 1)) < 1e-3);
}

TEST_CASE("a change of only the last layer is linear, and its features are the same at both end points") {
  Problem problem(3, at::kDouble);
  for (std::size_t i = 0; i < 4; ++i) problem.trained[i].copy_(problem.initial[i]);
  const auto [found, coefficients] = problem.measured();
  CHECK(found.linearization_error.value() < 1e-12);
  CHECK(found.linearization_error_control.value() < 1e-12);
  CHECK(found.residual_at_truth.value() > 0.01);
  CHECK(found.residual_at_truth.value() == Approx(found.residual_at_truth_final.value()).epsilon(1e-5));
}

TEST_CASE("kernels that exceed memory are left out with a reason, and the rest is measured") {
  Generator random = seeded(13);
  const Mlp network(2, {2}, 2, Parameterization::standard);
  const Parameters initial = network.draw_initial(random).value(), trained = moved(initial, 0.1, random);
  const Tensor images = at::randn({1501, 2}, random, at::kFloat);
  const auto [found, coefficients] = measure_deviation(network, initial, trained, images, images.narrow(0, 0, 50));
  CHECK_FALSE(found.kernel_distance);
  CHECK_FALSE(found.initial_to_infinite);
  CHECK_FALSE(found.final_to_infinite);
  CHECK_FALSE(found.residual_at_truth);
  CHECK_FALSE(found.residual_at_truth_final);
  CHECK_FALSE(coefficients.defined());
  CHECK(found.reason.find("6004 rows") != std::string::npos);  // two ends, two outputs, 1501 images
  CHECK(found.linearization_error.value() > 0);
  CHECK(found.linearization_error_control.value() > 0);
  CHECK(found.relative_parameter_change.value() > 0);
  CHECK(found.parameters_per_unknown.value() == Approx(12.0 / 3002).epsilon(1e-12));
}

TEST_CASE("without a closed form only the kernel of infinite width is left out, with a reason") {
  const Problem problem(3, at::kDouble);
  const Deviation known = problem.measured().figures;
  const Deviation found =
      measure_deviation(Opaque(problem.network), problem.initial, problem.trained, problem.training, problem.control)
          .figures;
  CHECK_FALSE(found.initial_to_infinite);
  CHECK_FALSE(found.final_to_infinite);
  CHECK(found.reason.find("initial_to_infinite") != std::string::npos);
  CHECK(found.kernel_distance.value() == Approx(known.kernel_distance.value()).epsilon(1e-9));
  CHECK(found.residual_at_truth.value() == Approx(known.residual_at_truth.value()).epsilon(1e-9));
}

TEST_CASE("where features are formed one by one, kernels are computed on as many images as memory allows") {
  // 4e8 numbers are 20 images of 999010 parameters, ten outputs and two ends.
  Generator random = seeded(14);
  const Mlp network(100, {9000}, 10, Parameterization::ntk);
  const Parameters initial = network.draw_initial(random).value(), trained = moved(initial, 0.5, random);
  const Tensor images = at::randn({22, 100}, random, at::kFloat), first = images.narrow(0, 0, 20);
  const auto [found, coefficients] = measure_deviation(Opaque(network), initial, trained, images, images);
  CHECK(found.kernel_distance.value() ==
        Approx(measure_deviation(network, initial, trained, first, images).figures.kernel_distance.value())
            .epsilon(1e-9));
  CHECK_FALSE(found.residual_at_truth);
  CHECK_FALSE(found.residual_at_truth_final);
  CHECK_FALSE(coefficients.defined());
  CHECK(found.reason.find("20 images") != std::string::npos);
  CHECK(found.parameters_per_unknown.value() == Approx(999010.0 / 2200).epsilon(1e-12));
}

}  // namespace afterimage
