#include "attacks/solver/one_hot_rows.h"

namespace afterimage {

Tensor nearest_rows(const ImageSpace& space, const Tensor& inputs) {
  const Tensor pixels = space.pixels(inputs.to(at::kDouble)), rows = at::full_like(pixels, space.low);
  std::int64_t first = 0;
  for (const std::int64_t levels : space.one_hot) {
    const Tensor largest = pixels.narrow(1, first, levels).argmax(1, /*keepdim=*/true);
    rows.narrow(1, first, levels).scatter_(1, largest, space.high);
    first += levels;
  }
  return space.inputs(rows);
}

Tensor are_rows(const ImageSpace& space, const Tensor& inputs) {
  constexpr double same_row = 0.02;
  const Tensor exact = inputs.to(at::kDouble), off = nearest_rows(space, exact) - exact;
  return off.norm(2, 1) < same_row * exact.norm(2, 1);
}

}  // namespace afterimage
