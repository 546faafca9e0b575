#include "attacks/solver/cost.h"

#include <algorithm>
#include <cmath>

namespace afterimage {
namespace {

constexpr double float32 = 4, float64 = 8;
constexpr double decompositions = 3, work_of_decomposition = 8;  // rounds of decay fitted; products over n d min(n, d)
constexpr double copies_of_first_layer = 7;                      // float64: both ends, their difference, U, work
constexpr double buffers_a_row = 7;                              // of tangents, for each unit
// Measured with Clp: 6 ms in 20 dimensions, 60 in 100, 190 in 200.
constexpr double programme_in_20 = 6e-3, programme_exponent = 1.5;

}  // namespace

Sizes sizes_of(const Subject& subject) {
  Sizes sizes;
  sizes.parameters = static_cast<double>(subject.trained.count());
  for (const auto& [name, tensor] : subject.trained.entries()) {
    if (tensor.dim() == 2) sizes.units += static_cast<double>(tensor.size(0));
  }
  sizes.pixels = static_cast<double>(subject.network->inputs());
  const FirstLayer first = subject.network->first_layer();
  if (first.dense) sizes.first = static_cast<double>(subject.trained.at(first.weight).numel());
  return sizes;
}

Estimate cost_of_span(const Sizes& sizes) {
  const double shorter = std::min(sizes.first / sizes.pixels, sizes.pixels);
  return {decompositions * work_of_decomposition * sizes.first * shorter, 0,
          copies_of_first_layer * float64 * sizes.first};
}

Estimate cost_of_search(const Sizes& sizes, double candidates, double points, double unknowns, double steps) {
  const double rows = candidates * points, upper = sizes.parameters - sizes.first;
  const double step = rows * (7 * upper + 5 * sizes.first * unknowns / sizes.pixels);
  const double residual = sizes.parameters * float32;
  return {steps * step, 0, residual + rows * sizes.units * buffers_a_row * float32};
}

double seconds_of_programmes(double count, double rank) {
  return count * programme_in_20 * std::pow(rank / 20, programme_exponent);
}

Estimate cost_of_path(const Sizes& sizes, double images, double segments, double copies) {
  return {segments * images * 6 * sizes.parameters, 0, copies * float32 * sizes.parameters};
}

Estimate operator+(const Estimate& a, const Estimate& b) {
  return {a.products + b.products, a.programme_seconds + b.programme_seconds, std::max(a.bytes, b.bytes)};
}

}  // namespace afterimage
