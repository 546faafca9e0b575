#include "attacks/solver/cost.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "attacks/solver/search.h"
#include "models/tangent/autograd_tangents.h"

namespace afterimage {
namespace {

constexpr double float32 = 4, float64 = 8;
constexpr double decompositions = 3, work_of_decomposition = 8;  // rounds of decay fitted; products over n d min(n, d)
constexpr double copies_of_first_layer = 7;                      // float64: both ends, their difference, U, work
constexpr double buffers_a_row = 6;                              // of tangents, for each unit
// Of small networks, where products take no time (width 32 to 256, N = 10 to 25, one core): a step of a search took 3
// to 4 ms, a segment of a path there and back 1.5.
constexpr double seconds_a_step = 2e-3, seconds_a_segment = 1.5e-3, seconds_a_unit = 2e-8;
// Measured with Clp: 6 ms in 20 dimensions, 60 in 100, 190 in 200.
constexpr double programme_in_20 = 6e-3, programme_exponent = 1.5;
constexpr double snap_in_200 = 35e-3;  // on one thread; it grows with the rows of a product, and so with the dimensions

}  // namespace

Sizes sizes_of(const TrainedNetwork& released) {
  Sizes sizes;
  sizes.parameters = static_cast<double>(released.trained.count());
  for (const auto& [name, tensor] : released.trained.entries()) {
    if (tensor.dim() == 2) sizes.units += static_cast<double>(tensor.size(0));
  }
  sizes.pixels = static_cast<double>(released.network->inputs());
  if (const DenseNetwork* dense = released.dense()) {
    sizes.first = static_cast<double>(released.trained.at(dense->first_weight()).numel());
  }
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
  return {steps * step, 0, residual + rows * sizes.units * buffers_a_row * float32,
          steps * (seconds_a_step + rows * sizes.units * seconds_a_unit)};
}

Estimate cost_of_search_by_autograd(const Subject& subject, const std::vector<double>& points, std::int64_t candidates,
                                    double steps, std::int64_t largest_kernel) {
  const auto& released = std::get<TrainedNetwork>(subject.released);
  const auto target =
      released.network->tangents(released.initial.to(at::kFloat), released.trained.to(at::kFloat), points);
  Generator random = seeded(0);
  const auto step = [&](std::int64_t count) {
    const Tensor images = at::rand({count, target->dimension()}, random, at::kFloat) - subject.space.mean;
    target->loss(images, at::full({count, target->features_per_image()}, 0.1F), {SearchPlan{}.beta_end});
  };
  step(1);  // chooses how many images are worked on at a time
  struct Tried {
    double seconds, bytes;
  };
  const auto tried = [&](std::int64_t count) {
    const auto start = std::chrono::steady_clock::now();
    const double bytes = peak_bytes_of([&] { step(count); });
    return Tried{std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), bytes};
  };
  constexpr std::int64_t few = 4;
  const Tried one = tried(1), some = tried(few);
  const auto more = static_cast<double>(few - 1), others = static_cast<double>(candidates - 1);
  Estimate estimate;
  estimate.seconds = steps * (one.seconds + others * std::max(some.seconds - one.seconds, 0.0) / more);
  const double chunk = one.bytes + std::min(others * std::max(some.bytes - one.bytes, 0.0) / more,
                                            AutogradTangents::largest_chunk_bytes);
  const auto rows = static_cast<double>(candidates * target->features_per_image());
  estimate.bytes = chunk;
  if (rows > static_cast<double>(largest_kernel)) return estimate;
  const double gram = AutogradTangents::bytes_of_gram(rows, static_cast<double>(released.trained.count()));
  const double solved = 3 * float64 * rows * rows;  // the kernel, a copy and its factor
  estimate.bytes = std::max({chunk, gram, solved});
  return estimate;
}

double seconds_of_programmes(double count, double rank) {
  return count * programme_in_20 * std::pow(rank / 20, programme_exponent);
}

double seconds_of_snaps(double count, double rank) { return count * snap_in_200 * rank / 200; }

Estimate cost_of_path(const Sizes& sizes, double images, double segments, double copies) {
  return {segments * images * 6 * sizes.parameters, 0, copies * float32 * sizes.parameters,
          segments * seconds_a_segment};
}

Estimate operator+(const Estimate& a, const Estimate& b) {
  return {a.products + b.products, a.programme_seconds + b.programme_seconds, std::max(a.bytes, b.bytes),
          a.seconds + b.seconds};
}

}  // namespace afterimage
