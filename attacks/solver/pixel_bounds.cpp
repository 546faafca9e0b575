#include "attacks/solver/pixel_bounds.h"

namespace afterimage {

PixelBounds::PixelBounds(const ImageSpace& space, const Tensor& basis, double weight)
    : basis_(basis.defined() ? basis.to(space.mean.scalar_type()).contiguous() : basis),
      lower_(space.lower()),
      upper_(space.upper()),
      weight_(weight),
      width_(space.width()) {}

double PixelBounds::add_gradient(const Tensor& candidates, double scale, Tensor& gradient) {
  const std::int64_t count = candidates.size(0);
  if (!excess_.defined() || excess_.size(0) != count) {
    pixels_ = at::empty({count, lower_.size(0)}, lower_.options());
    excess_ = at::empty_like(pixels_);
  }
  if (basis_.defined()) {
    at::mm_out(pixels_, candidates, basis_);
  } else {
    pixels_.copy_(candidates);
  }
  at::clamp_out(excess_, pixels_, lower_, upper_);
  at::sub_out(excess_, pixels_, excess_);
  const double per_pixel = weight_ / static_cast<double>(lower_.size(0));
  const double penalty = per_pixel * at::dot(excess_.view({-1}), excess_.view({-1})).item<double>();
  if (basis_.defined()) {
    gradient.addmm_(excess_, basis_.t(), 1, 2 * per_pixel * scale);
  } else {
    gradient.add_(excess_, 2 * per_pixel * scale);
  }
  return penalty;
}

Tensor PixelBounds::to_images(const Tensor& candidates) const {
  return basis_.defined() ? at::mm(candidates, basis_) : candidates;
}

Tensor PixelBounds::from_images(const Tensor& images) const {
  return basis_.defined() ? at::mm(images, basis_.t()) : images;
}

}  // namespace afterimage
