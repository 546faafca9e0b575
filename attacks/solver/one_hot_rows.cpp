#include "attacks/solver/one_hot_rows.h"

#include <algorithm>

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

namespace {

// Of each input, the share of its pixels that are far from any level.
Tensor share_between_levels(const ImageSpace& space, const Tensor& inputs) {
  constexpr double far = 0.25;  // of the smallest step between levels
  const Tensor pixels = space.pixels(inputs.to(at::kDouble));
  double step = space.high - space.low;
  for (std::size_t i = 1; i < space.levels.size(); ++i) step = std::min(step, space.levels[i] - space.levels[i - 1]);
  Tensor nearest = at::full_like(pixels, space.high - space.low);
  for (const double level : space.levels) nearest = at::minimum(nearest, (pixels - level).abs());
  return (nearest > far * step).to(at::kDouble).mean(1);
}

}  // namespace

Tensor are_possible(const ImageSpace& space, const Tensor& inputs) {
  constexpr double most_between = 0.05;
  Tensor possible = at::ones({inputs.size(0)}, at::kBool);
  if (!space.one_hot.empty()) possible = are_rows(space, inputs);
  if (!space.levels.empty()) possible = possible.logical_and(share_between_levels(space, inputs) <= most_between);
  return possible;
}

}  // namespace afterimage
