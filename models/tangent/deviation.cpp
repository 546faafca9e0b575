#include "models/tangent/deviation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "models/dense_network.h"

namespace afterimage {
namespace {

constexpr std::int64_t largest_kernel = 6000;  // rows; two such kernels in float64 take half a gigabyte
// Numbers in the features of all images together, for networks whose features are formed one by one: some minutes.
constexpr double largest_features = 4e8;

// The number of images, of `count`, whose kernels are computed.
std::int64_t affordable(const Network& network, const Parameters& initial, std::int64_t count) {
  if (as_dense(network) != nullptr) return count;
  const double row = static_cast<double>(initial.count()) * static_cast<double>(2 * network.outputs());
  return std::clamp<std::int64_t>(static_cast<std::int64_t>(largest_features / row), 2,
                                  std::max<std::int64_t>(count, 2));
}

// Numbers in the parameters that training moved.
std::int64_t trained_numbers(const Parameters& drift) {
  const std::vector<bool> moving = moved(drift);
  std::int64_t count = 0;
  for (std::size_t i = 0; i < drift.size(); ++i) count += moving[i] ? drift[i].numel() : 0;
  return count;
}

double linearization_error(const Network& network, const Parameters& initial, const Parameters& drift,
                           const Parameters& trained, const Tensor& images) {
  const Tensor outputs = network.evaluate(trained, images);
  const Tensor linear = network.evaluate(initial, images) + network.pushforward(initial, drift, images);
  return ((outputs - linear).norm() / outputs.norm()).item<double>();
}

}  // namespace

double kernel_distance(const Tensor& a, const Tensor& b) {
  return std::max(0.0, 1 - ((a * b).sum() / (a.norm() * b.norm())).item<double>());  // but for rounding
}

void measure_deviation(const Network& network, const Parameters& initial, const Parameters& trained,
                       const Tensor& training, const Tensor& control, MeasuredDeviation& measured) {
  const Parameters drift = trained.minus(initial);
  Deviation& result = measured.figures;
  result.linearization_error = linearization_error(network, initial, drift, trained, training);
  result.linearization_error_control = linearization_error(network, initial, drift, trained, control);
  result.relative_parameter_change = std::sqrt(drift.squared_norm() / initial.squared_norm());
  result.parameters_per_unknown = static_cast<double>(trained_numbers(drift)) / static_cast<double>(training.numel());

  const std::int64_t count = std::min(training.size(0), affordable(network, initial, training.size(0)));
  const std::int64_t rows = count * network.outputs();
  if (2 * rows > largest_kernel) {
    result.reason = fmt::format("kernels and residuals: {} rows are more than the {} that are held in memory", 2 * rows,
                                largest_kernel);
    return;
  }
  const Tensor images = training.narrow(0, 0, count).to(at::kDouble);
  const Parameters start = initial.to(at::kDouble), end = trained.to(at::kDouble);
  const auto at_start = network.tangents(start, end, {0.0}), at_end = network.tangents(start, end, {1.0});
  const Tensor first = at_start->gram(images, {}).clone(), last = at_end->gram(images, {});
  result.kernel_distance = kernel_distance(first, last);
  if (const DenseNetwork* dense = as_dense(network)) {
    const Tensor one = at::eye(network.outputs(), images.options());
    const Tensor kernel = at::kron(dense->infinite_kernel()(images, images), one);
    result.initial_to_infinite = kernel_distance(first, kernel);
    result.final_to_infinite = kernel_distance(last, kernel);
  } else {
    result.reason = "initial_to_infinite and final_to_infinite: no closed form of this architecture's kernel is known";
  }
  if (count < training.size(0)) {
    result.reason += fmt::format(
        "; kernel_distance is that of {} images, as many as {} parameters allow, and residuals need all of them", count,
        initial.count());
    return;
  }
  const Projection projection = project(*network.tangents(start, end, {0.0, 1.0}), images, {});
  result.residual_at_truth = projection.relative_residual;
  measured.coefficients = projection.coefficients;
  result.residual_at_truth_final = project(*at_end, images, {}).relative_residual;
}

}  // namespace afterimage
