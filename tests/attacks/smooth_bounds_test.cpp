// Total variation as a prior on candidate pictures.
#include "attacks/solver/smooth_bounds.h"

#include <catch2/catch.hpp>

#include "models/tensor.h"

namespace afterimage {
namespace {

const std::vector<std::int64_t> shape = {4, 5, 3};
constexpr std::int64_t pixels = 60;

double value(SmoothBounds bounds, const Tensor& candidates) {
  Tensor ignored = at::zeros_like(candidates);
  return bounds.add_gradient(candidates, 1, ignored);
}

}  // namespace

TEST_CASE("total variation is the mean difference of neighbours, of pixels whatever the network's units") {
  // Rows rise by 0.2 each, columns are alike: 0.2 along one dimension, and the smallest that counts, 0.01, along the
  // other.
  const Tensor rows = at::arange(4, at::kDouble).mul(0.2).view({4, 1, 1}).expand({4, 5, 3}).reshape({1, pixels});
  const double expected = 2 * 3 * (std::sqrt(0.2 * 0.2 + 1e-4) + 0.01);
  const ImageSpace plain{shape, at::zeros({pixels}, at::kDouble)};
  CHECK(value(SmoothBounds(plain, 0.1, 2, 3), rows) == Approx(expected));
  const Tensor scale = at::linspace(0.1, 2, pixels, at::kDouble), mean = at::full({pixels}, 0.3, at::kDouble);
  CHECK(value(SmoothBounds({shape, mean, 0, 1, scale}, 0.1, 2, 3), (rows - mean) / scale) == Approx(expected));
  // A mean over candidates: a repeated candidate changes nothing.
  CHECK(value(SmoothBounds(plain, 0.1, 2, 3), at::cat({rows, rows})) == Approx(expected));
}

TEST_CASE("the gradient of total variation and of the pixel range is that of finite differences") {
  Generator random = seeded(1);
  const Tensor scale = at::rand({pixels}, random, at::kDouble) + 0.5, mean = at::rand({pixels}, random, at::kDouble);
  // Of grey pictures without a dimension for it, too.
  for (const auto& layout : {shape, std::vector<std::int64_t>{6, 10}}) {
    SmoothBounds bounds({layout, mean, 0, 1, scale}, 0.1, 0.7, 1.3);
    const Tensor candidates = at::randn({3, pixels}, random, at::kDouble), direction = at::randn_like(candidates);
    Tensor gradient = at::ones_like(candidates);
    bounds.add_gradient(candidates, 2, gradient);
    const double step = 1e-6;
    const double slope =
        (value(bounds, candidates + step * direction) - value(bounds, candidates - step * direction)) / (2 * step);
    CHECK(at::dot((gradient - 1).view({-1}), direction.view({-1})).item<double>() == Approx(2 * slope).epsilon(1e-6));
  }
}

}  // namespace afterimage
