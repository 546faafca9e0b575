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

Tensor neighbours_of(const ImageSpace& space, const Tensor& row) {
  const Tensor pixels = space.pixels(row.to(at::kDouble));
  std::vector<Tensor> near{pixels};
  std::int64_t first = 0;
  for (const std::int64_t levels : space.one_hot) {
    const auto now = pixels.narrow(0, first, levels).argmax().item<std::int64_t>();
    for (std::int64_t level = 0; level < levels; ++level) {
      if (level == now) continue;
      near.push_back(pixels.clone());
      near.back()[first + now] = space.low;
      near.back()[first + level] = space.high;
    }
    first += levels;
  }
  return space.inputs(at::stack(near));
}

Tensor rows_near(const ImageSpace& space, const Tensor& basis, const Tensor& row, std::size_t most) {
  constexpr double in_space = 0.01;  // of the size of a change
  constexpr std::size_t most_for_two = 1000, most_for_three = 200;
  const Tensor exact = nearest_rows(space, row.unsqueeze(0)).squeeze(0);
  const Tensor changes = neighbours_of(space, exact).slice(0, 1) - exact;
  std::vector<std::size_t> groups;  // of each change
  for (std::size_t group = 0; group < space.one_hot.size(); ++group) {
    groups.insert(groups.end(), static_cast<std::size_t>(space.one_hot[group] - 1), group);
  }
  const std::size_t count = groups.size();
  const Tensor off = changes - at::mm(at::mm(changes, basis.t()), basis);
  const std::vector<double> sizes = to_doubles(changes.square().sum(1)), own = to_doubles(off.square().sum(1));
  std::vector<Tensor> near;
  const auto change = [&](std::size_t i) { return changes[static_cast<std::int64_t>(i)]; };
  const auto add = [&](double left, double size, const auto&... indices) {
    if (near.size() < most && left < in_space * in_space * size) near.push_back((exact + ... + change(indices)));
  };
  for (std::size_t i = 0; i < count; ++i) add(own[i], sizes[i], i);
  if (count <= most_for_two) {
    const Tensor products = at::mm(off, off.t()).contiguous();
    const auto of = [p = products.data_ptr<double>(), count](std::size_t a, std::size_t b) { return p[a * count + b]; };
    for (std::size_t i = 0; i < count; ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        if (groups[i] == groups[j]) continue;
        const double two = own[i] + own[j] + 2 * of(i, j), size = sizes[i] + sizes[j];
        add(two, size, i, j);
        for (std::size_t k = 0; k < j && count <= most_for_three; ++k) {
          if (groups[k] == groups[i] || groups[k] == groups[j]) continue;
          add(two + own[k] + 2 * (of(i, k) + of(j, k)), size + sizes[k], i, j, k);
        }
      }
    }
  }
  return near.empty() ? at::zeros({0, row.size(0)}, at::kDouble) : at::stack(near);
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
