#include "models/tangent/target.h"

#include <algorithm>

namespace afterimage {

Projection project(TangentTarget& target, const Tensor& images, Smoothing relu, double ridge) {
  Tensor kernel = target.gram(images, relu).to(at::kDouble);
  kernel.diagonal().add_(kernel.diagonal().mean() * ridge);
  const Tensor b = target.inner(images, relu).to(at::kDouble).reshape({-1, 1});
  const Tensor a = at::cholesky_solve(b, at::linalg_cholesky(kernel));
  const double explained = (a * b).sum().item<double>();
  const double residual = 1 - explained / target.squared_norm();
  return {a.reshape({images.size(0), target.features_per_image()}), std::clamp(residual, 0.0, 1.0)};
}

}  // namespace afterimage
