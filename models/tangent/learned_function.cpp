#include "models/tangent/learned_function.h"

#include <stdexcept>

namespace afterimage {

NetworkChange::NetworkChange(std::shared_ptr<const Network> network, const Parameters& initial,
                             const Parameters& trained)
    : network_(std::move(network)),
      initial_(initial),
      trained_(trained),
      squared_norm_(trained.minus(initial).squared_norm()) {}

Tensor NetworkChange::values(const Tensor& images) const {
  const Tensor single = images.to(at::kFloat);
  return (network_->evaluate(trained_, single) - network_->evaluate(initial_, single)).to(images.scalar_type());
}

LearnedFunction::Sloped NetworkChange::sloped(const Tensor& images, const Tensor& cotangents) const {
  const Tensor single = images.to(at::kFloat), along = cotangents.to(at::kFloat);
  const auto after = network_->input_gradient(trained_, single, along);
  const auto before = network_->input_gradient(initial_, single, along);
  return {(after.outputs - before.outputs).to(images.scalar_type()),
          (after.gradient - before.gradient).to(images.scalar_type())};
}

KernelRegression::KernelRegression(const AnalyticNtk& kernel, const Tensor& images, const Tensor& targets, double ridge)
    : kernel_(kernel), images_single_(images.to(at::kFloat).contiguous()) {
  if (images.dim() != 2 || targets.dim() != 2 || images.size(0) < 1 || targets.size(0) != images.size(0)) {
    throw std::invalid_argument("kernel regression takes images [N, d] and targets [N, C]");
  }
  images_ = images_single_.to(at::kDouble);
  const Tensor wanted = targets.to(at::kDouble);
  Tensor gram = kernel_(images_, images_);
  gram.diagonal().add_(ridge * gram.diagonal().mean().item<double>());
  coefficients_ = at::cholesky_solve(wanted, at::linalg_cholesky(gram));
  coefficients_single_ = coefficients_.to(at::kFloat);
  squared_norm_ = (coefficients_ * wanted).sum().item<double>();
}

Tensor KernelRegression::values(const Tensor& images) const {
  if (images.scalar_type() == at::kDouble) return at::mm(kernel_(images, images_), coefficients_);
  return at::mm(kernel_(images, images_single_), coefficients_single_);
}

LearnedFunction::Sloped KernelRegression::sloped(const Tensor& images, const Tensor& cotangents) const {
  const bool wide = images.scalar_type() == at::kDouble;
  auto product =
      kernel_.product(images, wide ? images_ : images_single_, wide ? coefficients_ : coefficients_single_, cotangents);
  return {product.values, product.gradient};
}

}  // namespace afterimage
