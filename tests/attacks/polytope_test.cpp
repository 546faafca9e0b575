#include <cmath>

#include "attacks/synthetic_pictures.h"

namespace afterimage {

using namespace synthetic;

TEST_CASE("candidates far off lead exactly to the images that they are nearest to, in whatever units") {
  const bool divided = GENERATE(false, true);
  Generator scales = seeded(9);
  const Pictures pictures(false, 1, divided ? 0.2 + 0.1 * at::rand({pixels}, scales, at::kFloat) : Tensor());
  PixelPolytope polytope(pictures.span, pictures.bounds);
  Generator random = seeded(2);
  Silent silent;
  const Tensor truth = pictures.coordinates();
  const VertexSet found = polytope.snap(noisy(truth, 0.6, random), silent);
  REQUIRE(found.size() == count);
  std::int64_t exact = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    exact += (found.coordinates[i] - truth[i]).norm().item<double>() < 1e-4 * truth[i].norm().item<double>();
  }
  CHECK(exact >= count - 1);
}

TEST_CASE("where all bounds agree there is an image, wherever the search started") {
  Silent silent;
  for (const std::uint64_t seed : {1, 2, 3}) {
    const Pictures pictures(false, seed);
    PixelPolytope polytope(pictures.span, pictures.bounds);
    Generator random = seeded(seed + 10);
    const Tensor truth = pictures.coordinates();
    const Tensor mixtures = 0.5 * (truth + truth.roll(1, 0));
    std::int64_t agreed = 0;
    for (const VertexSet& found :
         {polytope.snap(mixtures, silent), polytope.snap(noisy(mixtures, 0.5, random), silent),
          polytope.snap_along(at::randn({60, polytope.rank()}, random, at::kDouble), silent)}) {
      for (std::int64_t i = 0; i < found.size(); ++i) {
        if (found.leverage[static_cast<std::size_t>(i)] > largest_leverage) continue;
        ++agreed;
        CHECK(pictures.distance(found.coordinates[i]) < 0.01);
      }
    }
    CHECK(agreed > 0);
  }
}

TEST_CASE("images without a pixel at a bound have no vertex whose bounds agree") {
  const Pictures pictures(true);
  PixelPolytope polytope(pictures.span, pictures.bounds);
  Generator random = seeded(5);
  Silent silent;
  for (const VertexSet& found : {polytope.snap(noisy(pictures.coordinates(), 0.1, random), silent),
                                 polytope.snap_along(at::randn({60, polytope.rank()}, random, at::kDouble), silent)}) {
    for (const double leverage : found.leverage) CHECK(leverage > largest_leverage);
  }
}

TEST_CASE("a vertex has every bound within the slack, and the slack follows the noise") {
  Pictures pictures(false);
  Generator random = seeded(6);
  Silent silent;
  double before = 0;
  for (const double rounding : {1e-6, 1e-5, 1e-4}) {
    pictures.span.rounding = rounding;
    PixelPolytope polytope(pictures.span, pictures.bounds);
    CHECK(polytope.slack() > 5 * before);
    before = polytope.slack();
    const VertexSet found = polytope.snap(noisy(pictures.coordinates(), 0.3, random), silent);
    for (std::int64_t i = 0; i < found.size(); ++i) {
      if (found.leverage[static_cast<std::size_t>(i)] > largest_leverage) continue;
      const Tensor image = at::mv(polytope.basis().t(), found.coordinates[i]) + pictures.mean;
      CHECK(image.min().item<double>() > -20 * polytope.slack());
      CHECK(image.max().item<double>() < 1 + 20 * polytope.slack());
    }
  }
}

}  // namespace afterimage
