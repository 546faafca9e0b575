#include "attacks/scoring/similarity.h"

#include <algorithm>
#include <stdexcept>

namespace afterimage {
namespace {

constexpr std::int64_t full_window = 11;
constexpr double sigma = 1.5;
constexpr double c1 = 0.01 * 0.01, c2 = 0.03 * 0.03;  // (K * range)^2, range 1

std::int64_t window_for(std::int64_t height, std::int64_t width) {
  const std::int64_t fits = std::min({full_window, height, width});
  return fits % 2 == 1 ? fits : fits - 1;
}

Tensor gaussian(std::int64_t window) {
  const Tensor offset = at::arange(window, at::kDouble) - static_cast<double>(window - 1) / 2;
  const Tensor weights = at::exp(offset.square() / (-2 * sigma * sigma));
  return weights / weights.sum();
}

// The filter at valid positions as a matrix [length - window + 1, length]: each row is the one above, moved by one.
Tensor sliding(const Tensor& weights, std::int64_t length) {
  const std::int64_t window = weights.size(0), positions = length - window + 1;
  Tensor matrix = at::zeros({positions, length}, at::kDouble);
  for (std::int64_t position = 0; position < positions; ++position)
    matrix[position].slice(0, position, position + window).copy_(weights);
  return matrix;
}

// [n, h, w] or [n, h, w, c] -> [n, c, h, w] float64.
Tensor channels_first(const Tensor& images) {
  if (images.dim() == 3) return images.to(at::kDouble).unsqueeze(1);
  return images.to(at::kDouble).permute({0, 3, 1, 2}).contiguous();
}

}  // namespace

Tensor distances(const Tensor& a, const Tensor& b) {
  if (a.dim() != 2 || b.dim() != 2 || a.size(1) != b.size(1))
    throw std::invalid_argument("distances need rows of one length");
  constexpr std::int64_t as_differences = 2;
  return at::cdist(a.to(at::kDouble).contiguous(), b.to(at::kDouble).contiguous(), 2.0, as_differences);
}

Tensor ssim(const Tensor& a, const Tensor& b) {
  if (a.sizes() != b.sizes() || (a.dim() != 3 && a.dim() != 4))
    throw std::invalid_argument("ssim needs two batches [n, h, w] or [n, h, w, c] of one shape");
  const std::int64_t height = a.size(1), width = a.size(2);
  if (a.size(0) == 0) return at::empty({0}, at::kDouble);
  if (a.numel() == 0) throw std::invalid_argument("ssim needs images with pixels");
  const Tensor weights = gaussian(window_for(height, width));
  const Tensor down = sliding(weights, height), across = sliding(weights, width).t();
  const auto local_mean = [&](const Tensor& images) { return at::matmul(at::matmul(down, images), across); };

  const Tensor x = channels_first(a), y = channels_first(b);
  const Tensor mean_x = local_mean(x), mean_y = local_mean(y);
  const Tensor variance_x = local_mean(x * x) - mean_x * mean_x;
  const Tensor variance_y = local_mean(y * y) - mean_y * mean_y;
  const Tensor covariance = local_mean(x * y) - mean_x * mean_y;
  const Tensor map = (2 * mean_x * mean_y + c1) * (2 * covariance + c2) /
                     ((mean_x * mean_x + mean_y * mean_y + c1) * (variance_x + variance_y + c2));
  return map.mean(at::IntArrayRef{1, 2, 3});
}

}  // namespace afterimage
