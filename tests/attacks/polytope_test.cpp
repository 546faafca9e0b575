#include <ATen/Parallel.h>

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/attacks/synthetic_pictures.h"

namespace afterimage {

using namespace synthetic;

namespace {

// Within 20 slacks of what a pixel can be.
void check_in_range(const Pictures& pictures, const PixelPolytope& polytope, const Tensor& coordinates) {
  const Tensor image = at::mv(polytope.basis().t(), coordinates) + pictures.mean;
  CHECK(image.min().item<double>() > -20 * polytope.slack());
  CHECK(image.max().item<double>() < 1 + 20 * polytope.slack());
}

}  // namespace

TEST_CASE("distant candidates lead exactly to the images that they are nearest to, in any units") {
  const bool divided = GENERATE(false, true);
  Generator scales = seeded(9);
  const Pictures pictures(false, 1, divided ? 0.2 + 0.1 * at::rand({pixels}, scales, at::kFloat) : Tensor());
  PixelPolytope polytope(pictures.span, pictures.space);
  Generator random = seeded(2);
  Silent silent;
  const Tensor truth = pictures.coordinates();
  const std::vector<Vertex> found = polytope.snap(noisy(truth, 0.6, random), silent);
  REQUIRE(found.size() == static_cast<std::size_t>(count));
  std::int64_t exact = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const Tensor& coordinates = found[static_cast<std::size_t>(i)].coordinates;
    exact += (coordinates - truth[i]).norm().item<double>() < 1e-4 * truth[i].norm().item<double>();
  }
  CHECK(exact >= count - 1);
}

TEST_CASE("a vertex with consistent bounds is an image, wherever the search started") {
  Silent silent;
  for (const std::uint64_t seed : {1, 2, 3}) {
    const Pictures pictures(false, seed);
    PixelPolytope polytope(pictures.span, pictures.space);
    Generator random = seeded(seed + 10);
    const Tensor truth = pictures.coordinates();
    const Tensor mixtures = 0.5 * (truth + truth.roll(1, 0));
    std::int64_t agreed = 0;
    for (const std::vector<Vertex>& found :
         {polytope.snap(mixtures, silent), polytope.snap(noisy(mixtures, 0.5, random), silent),
          polytope.snap_along(at::randn({60, polytope.rank()}, random, at::kDouble), silent)}) {
      for (const Vertex& vertex : found) {
        if (vertex.leverage > largest_leverage) continue;
        ++agreed;
        CHECK(pictures.distance(vertex.coordinates) < 0.01);
      }
    }
    CHECK(agreed > 0);
  }
}

TEST_CASE("images without a pixel at a bound have no vertex with consistent bounds") {
  const Pictures pictures(true);
  PixelPolytope polytope(pictures.span, pictures.space);
  Generator random = seeded(5);
  Silent silent;
  for (const std::vector<Vertex>& found :
       {polytope.snap(noisy(pictures.coordinates(), 0.1, random), silent),
        polytope.snap_along(at::randn({60, polytope.rank()}, random, at::kDouble), silent)}) {
    for (const Vertex& vertex : found) CHECK(vertex.leverage > largest_leverage);
  }
}

TEST_CASE("a vertex has every bound within the slack, and the slack follows the noise") {
  Pictures pictures(false);
  Generator random = seeded(6);
  Silent silent;
  double before = 0;
  for (const double rounding : {1e-6, 1e-5, 1e-4}) {
    pictures.span.rounding = rounding;
    PixelPolytope polytope(pictures.span, pictures.space);
    CHECK(polytope.slack() > 5 * before);
    before = polytope.slack();
    for (const Vertex& vertex : polytope.snap(noisy(pictures.coordinates(), 0.3, random), silent)) {
      if (vertex.leverage > largest_leverage) continue;
      check_in_range(pictures, polytope, vertex.coordinates);
    }
  }
}

TEST_CASE("splitting finds the picture that is furthest along a direction, as a linear programme does") {
  for (const std::uint64_t seed : {1, 2, 3}) {
    const Pictures pictures(false, seed);
    const Tensor low = -pictures.mean, high = 1 - pictures.mean;
    const Box box{pictures.span.basis.t().contiguous(), low, high};
    // At each picture the sum of the normals of the bounds that it is at: the picture is the furthest along that.
    const Tensor truth = pictures.coordinates(), shown = at::mm(truth, box.rows.t());
    const Tensor up = (high - shown < 1e-6).to(at::kDouble), down = (shown - low < 1e-6).to(at::kDouble);
    const Tensor directions = at::mm(up - down, box.rows);
    Generator random = seeded(seed + 20);
    const Tensor found = furthest_by_splitting(box, noisy(truth, 0.5, random), directions, 0.1, 1e-8);
    CHECK(((found - truth).norm(2, 1) / truth.norm(2, 1)).max().item<double>() < 1e-4);
    PixelPolytope polytope(pictures.span, pictures.space);
    Silent silent;
    const Tensor programmed = coordinates_of(polytope.snap_along(directions, silent), polytope.rank());
    CHECK(((found - programmed).norm(2, 1) / truth.norm(2, 1)).max().item<double>() < 1e-3);
  }
}

TEST_CASE("in many dimensions a confirmed vertex is an image inside the range, however few steps a candidate had") {
  // Splitting ends after a number of steps, at a vertex or not: most distant candidates reach none.
  constexpr std::int64_t many = 90, wide = 400;
  Generator random = seeded(31);
  Pictures pictures(false);
  pictures.set(at::rand({many, wide}, random, at::kDouble).mul(at::rand({many, wide}, random, at::kDouble) > 0.6));
  pictures.span.rounding = 1e-6;
  const PixelPolytope polytope(pictures.span, pictures.space);
  const Tensor truth = pictures.coordinates();
  Silent silent;
  const Tensor far = noisy(truth, 3.0, random), between = 0.5 * (truth + truth.roll(1, 0));
  std::int64_t confirmed = 0, not_confirmed = 0;
  for (const Tensor& candidates : {noisy(truth, 0.5, random), far, between, at::randn_like(truth)}) {
    for (const Vertex& vertex : polytope.snap(candidates, silent)) {
      if (vertex.leverage > largest_leverage) {
        ++not_confirmed;
        continue;
      }
      ++confirmed;
      CHECK(pictures.distance(vertex.coordinates) < 0.02);
      check_in_range(pictures, polytope, vertex.coordinates);
    }
  }
  CHECK(confirmed >= many - 1);
  CHECK(not_confirmed > 0);
}

TEST_CASE("where a candidate leads does not depend on the other candidates, nor on the number of threads") {
  const Pictures pictures(false);
  PixelPolytope polytope(pictures.span, pictures.space);
  Generator random = seeded(4);
  Silent silent;
  const Tensor candidates = noisy(pictures.coordinates().repeat({3, 1}), 0.4, random);
  const auto snapped = [&](const Tensor& some) { return coordinates_of(polytope.snap(some, silent), polytope.rank()); };
  const Tensor together = snapped(candidates);
  for (std::int64_t i = 0; i < candidates.size(0); i += 7) {
    const Tensor alone = snapped(candidates.narrow(0, i, 1))[0];
    CHECK((alone - together[i]).norm().item<double>() < 1e-9 * together[i].norm().item<double>());
  }
  const int threads = at::get_num_threads();
  at::set_num_threads(threads == 1 ? 2 : 1);
  const Tensor otherwise = snapped(candidates);
  at::set_num_threads(threads);
  CHECK(at::equal(otherwise, together));
}

}  // namespace afterimage
