#include "models/calibration.h"

namespace afterimage {

double expected_calibration_error(const Tensor& probabilities, const Tensor& classes, std::int64_t bins) {
  const auto [confidence, guess] = probabilities.to(at::kDouble).max(1);
  const Tensor right = (guess == classes).to(at::kDouble);
  const Tensor bin = (confidence * static_cast<double>(bins)).to(at::kLong).clamp_(0, bins - 1);
  const Tensor gap = at::zeros({bins}, at::kDouble).index_add_(0, bin, right - confidence);
  return gap.abs().sum().item<double>() / static_cast<double>(classes.size(0));
}

}  // namespace afterimage
