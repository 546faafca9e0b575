// Pictures whose row span is known exactly, for tests of the pixel polytope and of methods that use it.
#pragma once

#include "attacks/solver/pixel_polytope.h"

namespace afterimage::synthetic {

inline constexpr std::int64_t pixels = 200, count = 15;

// The span of random pictures, half of whose pixels are black (or, for `grey` ones, none at a bound).
struct Pictures {
  Tensor images, mean;  // [count, pixels] less the mean, unless set; [pixels]
  RowSpan span;
  ImageSpace space;

  explicit Pictures(bool grey, std::uint64_t seed = 1, const Tensor& scale = {}) {
    Generator random = seeded(seed);
    Tensor all = at::rand({count, pixels}, random, at::kDouble);
    if (grey) {
      all = all.mul(0.8).add(0.1);
    } else {
      all = all.mul(at::rand({count, pixels}, random, at::kDouble) > 0.5);
    }
    set(all, scale);
  }
  // These pixels, of any number and size, in place of the random ones.
  void set(const Tensor& all, const Tensor& scale = {}) {
    mean = all.mean(0);
    space = {{all.size(1)}, mean, 0, 1, scale};
    images = space.inputs(all);
    space = space.to(at::kFloat);
    const auto [u, s, vh] = at::linalg_svd(images, false);
    span.rank = all.size(0) - 1;
    span.basis = vh.narrow(0, 0, span.rank).contiguous();
    span.singular_values = to_doubles(s);
    span.rounding = 1e-7;
  }
  // These pixels, without subtracting a mean.
  void set_as_they_are(const Tensor& all) {
    mean = at::zeros({all.size(1)}, at::kDouble);
    images = all;
    const auto [u, s, vh] = at::linalg_svd(images, false);
    span.rank = all.size(0);
    span.basis = vh.narrow(0, 0, span.rank).contiguous();
    span.singular_values = to_doubles(s);
    space = {{all.size(1)}, mean.to(at::kFloat)};
  }
  Tensor coordinates() const { return at::mm(images, span.basis.t()); }
  // Relative distance of coordinates [r] to the nearest picture.
  double distance(const Tensor& found) const {
    const Tensor truth = coordinates();
    return ((truth - found).norm(2, 1) / truth.norm(2, 1)).min().item<double>();
  }
};

inline Tensor noisy(const Tensor& images, double relative, Generator& random) {
  const Tensor noise = at::randn(images.sizes(), random, at::kDouble);
  return images + noise * (relative * images.norm(2, {1}, true) / noise.norm(2, {1}, true));
}

}  // namespace afterimage::synthetic
