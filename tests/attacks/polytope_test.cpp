#include <cmath>

#include "attacks/solver/pixel_polytope.h"

namespace afterimage {
namespace {

constexpr std::int64_t pixels = 200, count = 15;

// The span of random pictures, half of whose pixels are black (or, for `grey` ones, none at a bound).
struct Pictures {
  Tensor images, mean;  // [count, pixels] less the mean; [pixels]
  RowSpan span;
  InputBounds bounds;

  explicit Pictures(bool grey, std::uint64_t seed = 1, const Tensor& scale = {}) {
    Generator random = seeded(seed);
    Tensor all = at::rand({count, pixels}, random, at::kDouble);
    if (grey) {
      all = all.mul(0.8).add(0.1);
    } else {
      all = all.mul(at::rand({count, pixels}, random, at::kDouble) > 0.5);
    }
    mean = all.mean(0);
    images = over(all - mean, scale);
    const auto [u, s, vh] = at::linalg_svd(images, false);
    span.rank = count - 1;
    span.basis = vh.narrow(0, 0, span.rank).contiguous();
    span.singular_values = to_doubles(s);
    span.rounding = 1e-7;
    bounds = {mean.to(at::kFloat), 0, 1, scale};
  }
  Tensor coordinates() const { return at::mm(images, span.basis.t()); }
  // Relative distance of coordinates [r] to the nearest picture.
  double distance(const Tensor& found) const {
    const Tensor truth = coordinates();
    return ((truth - found).norm(2, 1) / truth.norm(2, 1)).min().item<double>();
  }
};

Tensor noisy(const Tensor& images, double relative, Generator& random) {
  const Tensor noise = at::randn(images.sizes(), random, at::kDouble);
  return images + noise * (relative * images.norm(2, {1}, true) / noise.norm(2, {1}, true));
}

}  // namespace

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
