#include "models/tangent/target.h"

#include <algorithm>
#include <stdexcept>

namespace afterimage {
namespace {

constexpr double softplus_threshold = 45;  // beyond it softplus and the identity differ by less than float64 can tell

}  // namespace

void activate(const Tensor& z, Smoothing relu, Tensor h, Tensor slope) {
  if (relu.is_relu()) {
    at::clamp_min_out(h, z, 0);
    slope.copy_(z > 0);
    return;
  }
  at::softplus_out(h, z, relu.beta, softplus_threshold);
  at::mul_out(slope, z, at::scalar_tensor(relu.beta, z.options()));
  slope.sigmoid_();
}

void TangentTarget::hold(const Tensor&) { throw std::logic_error("this target holds no images"); }

Tensor held_factor(Tensor kernel) {
  constexpr double held_ridge = 1e-6;
  kernel.diagonal().add_(held_ridge * kernel.diagonal().mean().item<double>());
  return at::linalg_cholesky(kernel);
}

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
