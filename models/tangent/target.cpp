#include "models/tangent/target.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace afterimage {
namespace {

struct Ridged {
  Tensor factor;     // Cholesky
  double ridge = 0;  // added to the diagonal
};

// Of a kernel with a ridge of `ridge` times its mean diagonal, multiplied by ten until there is a factor: rounding in
// float32 makes a kernel of more rows than parameters, or of nearly equal images, indefinite. Changes the kernel.
Ridged ridged(const Tensor& kernel, double ridge) {
  constexpr double smallest = 1e-12, largest = 0.1, step = 10;
  const double mean = kernel.diagonal().mean().item<double>();
  for (double before = 0; ridge < largest; before = std::exchange(ridge, std::max(ridge * step, smallest))) {
    kernel.diagonal().add_((ridge - before) * mean);
    const auto [factor, failed] = at::linalg_cholesky_ex(kernel);
    if (failed.item<std::int64_t>() == 0) return {factor, ridge * mean};
  }
  return {at::linalg_cholesky(kernel), 0};  // throws
}

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

void TangentTarget::hold(const Tensor&) { throw std::logic_error("this target cannot hold images"); }

Tensor held_factor(const Tensor& kernel) {
  constexpr double held_ridge = 1e-6;
  return ridged(kernel, held_ridge).factor;
}

Projection project(TangentTarget& target, const Tensor& images, Smoothing relu, double ridge) {
  const Tensor kernel = target.gram(images, relu).to(at::kDouble);
  const Tensor b = target.inner(images, relu).to(at::kDouble).reshape({-1, 1});
  const auto [factor, added] = ridged(kernel, ridge);
  const Tensor a = at::cholesky_solve(b, factor);
  // a^T (2 b - K a), with K a = b - ridge a.
  const double explained = (a * b).sum().item<double>() + added * a.square().sum().item<double>();
  const double residual = 1 - explained / target.squared_norm();
  return {a.reshape({images.size(0), target.features_per_image()}), std::clamp(residual, 0.0, 1.0)};
}

}  // namespace afterimage
