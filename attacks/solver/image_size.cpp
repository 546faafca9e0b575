#include "attacks/solver/image_size.h"

namespace afterimage {
namespace {

Tensor without_mean(const Tensor& pixels) { return pixels - pixels.mean(-1, true); }

}  // namespace

ImageSize::ImageSize(const ImageSpace& space, const Tensor& basis) : space_(space.to(at::kDouble)) {
  if (!basis.defined()) return;
  const Tensor slope = space_.over_scale(without_mean(space_.times_scale(basis.to(at::kDouble))));
  const Tensor offset = space_.over_scale(without_mean(space_.mean));
  square_ = at::mm(slope, slope.t());
  linear_ = at::mv(slope, offset);
  constant_ = offset.square().sum().item<double>();
}

Tensor ImageSize::squared_contrast(const Tensor& coordinates) const {
  if (!square_.defined()) {
    return space_.over_scale(without_mean(space_.pixels(coordinates))).square().sum(1);
  }
  return (at::mm(coordinates, square_) * coordinates).sum(1) + 2 * at::mv(coordinates, linear_) + constant_;
}

Tensor ImageSize::operator()(const Tensor& coordinates) const {
  const Tensor contrast = squared_contrast(coordinates.to(at::kDouble)).clamp_min(0).sqrt();
  return at::minimum(coordinates.norm(2, 1), contrast.to(coordinates.scalar_type()));
}

Tensor ImageSize::relative_distances(const Tensor& others, const Tensor& coordinates) const {
  return (others - coordinates).norm(2, 1) / at::maximum((*this)(others), (*this)(coordinates.unsqueeze(0)));
}

}  // namespace afterimage
