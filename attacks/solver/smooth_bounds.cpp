#include "attacks/solver/smooth_bounds.h"

namespace afterimage {
namespace {

constexpr double smallest_difference = 0.01;  // of a pixel's range, below which |t| is rounded off

}  // namespace

SmoothBounds::SmoothBounds(const ImageSpace& space, double penalty, double weight, double unit)
    : PixelBounds(space, {}, penalty),
      height_(space.shape.at(0)),
      width_(space.shape.at(1)),
      channels_(space.shape.size() > 2 ? space.shape[2] : 1),
      weight_(weight * unit),
      range_(space.high - space.low) {
  if (space.scale.defined()) scale_ = space.scale.to(space.mean.scalar_type()).view({height_, width_, channels_});
}

double SmoothBounds::add_gradient(const Tensor& candidates, double scale, Tensor& gradient) {
  const double penalty = PixelBounds::add_gradient(candidates, scale, gradient);
  const Tensor seen = candidates.view({-1, height_, width_, channels_});
  if (!pictures_.defined() || pictures_.size(0) != seen.size(0)) {
    pictures_ = at::empty_like(seen);
    gradient_ = at::empty_like(seen);
    for (const std::int64_t k : {0, 1}) {
      difference_[k] = at::empty_like(seen.narrow(k + 1, 1, seen.size(k + 1) - 1)).contiguous();
      size_[k] = at::empty_like(difference_[k]);
    }
  }
  if (scale_.defined()) {
    at::mul_out(pictures_, seen, scale_);
  } else {
    pictures_.copy_(seen);
  }
  gradient_.zero_();
  const double variation = add_along(1, pictures_, scale, gradient_) + add_along(2, pictures_, scale, gradient_);
  if (scale_.defined()) gradient_.mul_(scale_);
  gradient.add_(gradient_.view_as(gradient));
  return penalty + variation;
}

double SmoothBounds::add_along(std::int64_t dimension, const Tensor& pictures, double scale, Tensor& gradient) {
  Tensor &difference = difference_[dimension - 1], &size = size_[dimension - 1];
  const std::int64_t pairs = pictures.size(dimension) - 1;
  at::sub_out(difference, pictures.narrow(dimension, 1, pairs), pictures.narrow(dimension, 0, pairs));
  at::mul_out(size, difference, difference);
  const double least = smallest_difference * range_;
  size.add_(least * least).sqrt_();
  const double each = weight_ / static_cast<double>(difference.numel());
  const double variation = each * size.sum().item<double>();
  difference.div_(size);
  gradient.narrow(dimension, 1, pairs).add_(difference, each * scale);
  gradient.narrow(dimension, 0, pairs).sub_(difference, each * scale);
  return variation;
}

}  // namespace afterimage
