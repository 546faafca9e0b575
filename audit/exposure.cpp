#include "audit/exposure.h"

#include <algorithm>
#include <limits>

#include "models/foundations/statistics.h"

namespace afterimage {
namespace {

constexpr double at_bound = 1e-6;           // of the pixel range
constexpr double smallest_norm = 1e-12;     // of an image that is all zero
constexpr std::size_t most_values = 10000;  // a report holds no longer array

std::vector<double> numbers(const Tensor& values) {
  const Tensor wide = values.to(at::kDouble).contiguous();
  return {wide.data_ptr<double>(), wide.data_ptr<double>() + wide.numel()};
}

Tensor margins(const Tensor& outputs, const Tensor& targets) {
  if (targets.size(1) == 1) return (outputs * targets).squeeze(1);
  const Tensor right = targets.argmax(1, /*keepdim=*/true);
  return (outputs.gather(1, right) - outputs.scatter(1, right, -std::numeric_limits<double>::infinity()).amax(1, true))
      .squeeze(1);
}

Tensor active_bounds(const Tensor& images, const ImageSpace& space) {
  const Tensor pixels = space.pixels(images);
  const double slack = at_bound * (space.high - space.low);
  return (pixels < space.low + slack).logical_or(pixels > space.high - slack).sum(1);
}

// From differences, since rounding in matrix products gives exact copies a distance above zero. Some rows at a time:
// the whole would be N x N.
Tensor nearest_neighbours(const Tensor& images) {
  constexpr std::int64_t rows_at_a_time = 256, by_differences = 2;
  Tensor nearest = at::empty({images.size(0)}, images.options());
  for (std::int64_t first = 0; first < images.size(0); first += rows_at_a_time) {
    const std::int64_t rows = std::min(rows_at_a_time, images.size(0) - first);
    Tensor distances = at::cdist(images.narrow(0, first, rows), images, 2, by_differences);
    distances.diagonal(first).fill_(std::numeric_limits<double>::infinity());
    nearest.narrow(0, first, rows).copy_(distances.amin(1));
  }
  return nearest / images.norm(2, 1).clamp_min(smallest_norm);
}

std::vector<double> losses(LossKind loss, const Tensor& outputs, const Tensor& targets) {
  std::vector<double> result;
  for (std::int64_t i = 0; i < outputs.size(0); ++i) {
    result.push_back(loss_of(loss, outputs.narrow(0, i, 1), targets.narrow(0, i, 1)));
  }
  return result;
}

// Minus the relative distance, by training image; images without a reconstruction come last.
std::vector<double> exposures(const Finding& finding, std::size_t images) {
  std::vector<double> result(images, -std::numeric_limits<double>::infinity());
  for (const auto& sample : finding.samples) {
    if (sample.relative_distance) result.at(static_cast<std::size_t>(sample.index)) = -*sample.relative_distance;
  }
  return result;
}

}  // namespace

std::optional<Exposure> exposure_of(const AuditInput& input, const Tensor& coefficients,
                                    const std::vector<Finding>& findings) {
  const Finding* strongest = best_reconstruction(findings);
  if (strongest == nullptr || strongest->samples.empty()) return std::nullopt;
  const Tensor& images = input.truth.training;
  const auto& released = std::get<TrainedNetwork>(input.subject.released);
  const Tensor outputs = input.model.class_outputs(released.network->evaluate(released.trained, images));
  Exposure result;
  result.attack = strongest->attack;
  const auto found = exposures(*strongest, static_cast<std::size_t>(images.size(0)));
  const auto add = [&](const char* name, std::vector<double> values) {
    const auto correlation = spearman(values, found);
    if (values.size() > most_values) values.clear();
    result.predictors.push_back({name, std::nullopt, std::nullopt, std::move(values)});
    if (correlation) {
      result.predictors.back().spearman = correlation->rho;
      result.predictors.back().p_value = correlation->p_value;
    }
  };
  if (coefficients.defined()) {
    add("dual_coefficient", numbers(coefficients.norm(2, 1)));
  } else {
    result.reason = released.knows_initial()
                        ? "dual_coefficient: there are too many training images to solve for the coefficients"
                        : "dual_coefficient: it is computed from the weights before training, which are not known";
  }
  add("margin", numbers(margins(outputs, input.targets)));
  add("active_bounds", numbers(active_bounds(images, input.subject.space)));
  if (images.size(0) > 1) add("nearest_neighbour", numbers(nearest_neighbours(images)));
  const auto loss = input.model.subclasses > 0 ? input.model.class_loss() : input.subject.loss;
  add("loss", losses(loss.value_or(LossKind::squared), outputs, input.targets));
  if (result.reason.empty() &&
      std::any_of(result.predictors.begin(), result.predictors.end(), [](const Predictor& p) { return !p.spearman; })) {
    result.reason = "no rank correlation with fewer than four images, or where all values are equal";
  }
  return result;
}

}  // namespace afterimage
