// The penalty for distilled images that resemble training images.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "defenses/distillation.h"
#include "tests/models/finite_differences.h"

namespace afterimage {
namespace {

constexpr std::int64_t pixels = 20;

// 50 mean_j max(0, d^2 - min_t |x_j - x_t|^2)^2 / d^4, pair by pair.
double plain_penalty(const Tensor& candidates, const Tensor& originals, double least) {
  double sum = 0;
  for (std::int64_t j = 0; j < candidates.size(0); ++j) {
    double nearest = std::numeric_limits<double>::infinity();
    for (std::int64_t t = 0; t < originals.size(0); ++t) {
      nearest = std::min(nearest, (candidates[j] - originals[t]).square().sum().item<double>());
    }
    sum += std::pow(std::max(0.0, least * least - nearest), 2);
  }
  return 50 * sum / static_cast<double>(candidates.size(0)) / std::pow(least, 4);
}

// Six training images, of which the first two have distance one.
struct Real {
  Generator random = seeded(4);
  Tensor originals = at::randn({6, pixels}, random, at::kDouble);
  double least = 0;

  explicit Real(double distance) {
    originals[1].copy_(originals[0] + direction());
    least = distance * originals.norm(2, 1).mean().item<double>();
  }
  Tensor direction() {
    const Tensor any = at::randn({pixels}, random, at::kDouble);
    return any / any.norm();
  }
};

ImageSpace range() { return {{pixels}, at::zeros({pixels}, at::kDouble), -0.5, 0.5}; }

}  // namespace

TEST_CASE("the penalty for being near a training image is as defined, with the gradient of finite differences") {
  constexpr double distance = 0.3, unit = 3, scale = 2, step = 1e-5;
  Real real(distance);
  const Tensor& originals = real.originals;
  REQUIRE(real.least > 1);  // so that an image between the first two is near both
  const Tensor between = originals[1] - originals[0];
  // Near two training images; near one; far from all. Pixels outside their range are not penalised: they are clamped.
  const Tensor candidates = at::stack(
      {originals[0] + 0.3 * between + 0.1 * real.direction(), originals[3] + 0.7 * real.least * real.direction(),
       originals[4] + 1.5 * real.least * real.direction(), originals[1] - 0.2 * between + 0.1 * real.direction()});
  const double corruption = GENERATE(0.0, 0.4);
  CAPTURE(corruption);
  DistilledBounds bounds(range(), originals, candidates.size(0), {corruption, distance}, unit, real.random);
  const auto value = [&](const Tensor& at_these) {
    Tensor ignored = at::zeros_like(at_these);
    return bounds.add_gradient(at_these, 1, ignored);
  };
  Tensor gradient = at::ones_like(candidates);
  CHECK(bounds.add_gradient(candidates, scale, gradient) ==
        Approx(unit * plain_penalty(candidates, originals, real.least)).epsilon(1e-10));
  gradient -= 1;
  const Tensor slopes = scale * differences(candidates, step, value);
  for (const std::int64_t near : {0, 1, 3}) {
    CAPTURE(near);
    CHECK((gradient[near] - slopes[near]).norm().item<double>() < 1e-6 * slopes[near].norm().item<double>());
  }
  CHECK(gradient[2].eq(0).all().item<bool>());
  CHECK(slopes[2].eq(0).all().item<bool>());
}

TEST_CASE("without a least distance there is no penalty") {
  Real real(0);
  DistilledBounds bounds(range(), real.originals, 6, {0.5, 0}, 3, real.random);
  Tensor gradient = at::ones_like(real.originals);
  CHECK(bounds.add_gradient(real.originals, 2, gradient) == 0);
  CHECK(gradient.eq(1).all().item<bool>());
}

}  // namespace afterimage
