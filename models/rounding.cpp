#include "models/rounding.h"

#include <fmt/format.h>

namespace afterimage {
namespace {

constexpr double smallest_spacing = 1e-300;
constexpr const char* in_8_bits = "8 bits";

Tensor rounded_to(at::ScalarType dtype, const Tensor& values) {
  return values.to(at::kFloat).to(dtype).to(values.scalar_type());
}

}  // namespace

Storage storage_of(const Tensor& weights) {
  constexpr double levels = 127, on_grid = 1e-3, of_uniform = 1.0 / 12;  // variance of a uniform number in [0, 1)
  const Tensor single = weights.to(at::kFloat);
  const auto keeps = [&](at::ScalarType dtype) { return at::equal(single.to(dtype).to(at::kFloat), single); };
  const auto of_float = [&](const char* name, int mantissa_bits) {
    const Tensor sizes = weights.abs();
    const Tensor spacing = at::where(sizes > 0, at::exp2(at::floor(at::log2(sizes)) - mantissa_bits), sizes);
    return Storage{name, of_uniform * spacing.square().mean().item<double>()};
  };
  if (weights.count_nonzero().item<std::int64_t>() == 0) return {};
  // The coarser first: values of bfloat16 that are not very small or large are values of float16 too.
  if (keeps(at::kBFloat16)) return of_float("bfloat16", 7);
  if (keeps(at::kHalf)) return of_float("float16", 10);
  const auto on_grid_of = [&](const char* name, const Tensor& largest) {
    const Tensor step = (largest / levels).clamp_min(smallest_spacing), steps = weights / step;
    const bool whole = (steps - steps.round()).abs().max().item<double>() < on_grid;
    return whole ? Storage{name, of_uniform * step.square().mean().item<double>()} : Storage{};
  };
  const Storage by_row = on_grid_of("8 bits with a scale for each row", weights.abs().amax(1, /*keepdim=*/true));
  return by_row.name.empty() ? on_grid_of("8 bits with one scale", weights.abs().max()) : by_row;
}

std::string storage_of(const Parameters& parameters) {
  std::string name;
  for (const auto& [of, tensor] : parameters.entries()) {
    if (tensor.dim() < 2 || tensor.count_nonzero().item<std::int64_t>() == 0) continue;
    const std::string next = storage_of(tensor.flatten(1)).name;
    if (next.empty()) return "";
    const bool both_8_bits = name.starts_with(in_8_bits) && next.starts_with(in_8_bits);  // a single row is both kinds
    if (!name.empty() && next != name && !both_8_bits) return "";
    if (name.empty()) name = next;
  }
  return name;
}

std::string rounding_note(const Parameters& parameters) {
  const std::string name = storage_of(parameters);
  return name.empty() ? "" : fmt::format("weights are rounded: stored as {}", name);
}

Tensor same_but_for_rounding(const Tensor& before, const Tensor& after) {
  Tensor same = before.eq(after);
  for (const auto dtype : {at::kHalf, at::kBFloat16}) {
    if (at::equal(rounded_to(dtype, after), after)) same = same.logical_or(rounded_to(dtype, before).eq(after));
  }
  return same;
}

}  // namespace afterimage
