#include "models/tangent/kernel_targets.h"

#include <stdexcept>

namespace afterimage {

KernelTarget::KernelTarget(AnalyticNtk kernel, Tensor images, Tensor columns)
    : kernel_(std::move(kernel)), images_(std::move(images)), columns_(std::move(columns)) {
  if (images_.dim() != 2 || columns_.dim() != 2 || images_.size(0) < 1 || columns_.size(0) != images_.size(0) ||
      images_.scalar_type() != at::kDouble || columns_.scalar_type() != at::kDouble) {
    throw std::invalid_argument("kernel targets take float64 images [N, d] and columns [N, C]");
  }
}

Tensor KernelTarget::inner(const Tensor& images, Smoothing) {
  return at::mm(kernel_(images, images_), columns_).div_(divisor_);
}

// Inner products between different outputs are zero.
Tensor KernelTarget::gram(const Tensor& images, Smoothing) {
  const Tensor one = gram_of_one(images);
  return at::kron(one, at::eye(features_per_image(), one.options()));
}

KernelElement::KernelElement(AnalyticNtk kernel, Tensor images, Tensor coefficients)
    : KernelTarget(std::move(kernel), std::move(images), std::move(coefficients)) {
  squared_norm_ = (columns_ * at::mm(kernel_(images_, images_), columns_)).sum().item<double>();
}

Tensor KernelElement::gram_of_one(const Tensor& images) const { return kernel_(images, images); }

const TangentTarget::Loss& KernelElement::loss(const Tensor& images, const Tensor& coefficients, Smoothing) {
  const auto cross = kernel_.product(images, images_, columns_, coefficients);
  const auto own = kernel_.product(images, images, coefficients, coefficients);
  loss_.value = squared_norm_ + (coefficients * (own.values - 2 * cross.values)).sum().item<double>();
  loss_.by_images = (own.gradient - cross.gradient).mul_(2);
  loss_.by_coefficients = (own.values - cross.values).mul_(2);
  return loss_;
}

KernelPredictions::KernelPredictions(AnalyticNtk kernel, Tensor images, Tensor targets)
    : KernelTarget(std::move(kernel), std::move(images), std::move(targets)) {
  divisor_ = static_cast<double>(images_.size(0));
  squared_norm_ = columns_.square().sum().item<double>() / divisor_;
}

Tensor KernelPredictions::gram_of_one(const Tensor& images) const {
  const Tensor features = kernel_(images, images_);
  return at::mm(features, features.t()).div_(divisor_);
}

const TangentTarget::Loss& KernelPredictions::loss(const Tensor& images, const Tensor& coefficients, Smoothing) {
  const Tensor residuals = at::mm(kernel_(images_, images), coefficients).sub_(columns_);
  loss_.value = residuals.square().sum().item<double>() / divisor_;
  const auto back = kernel_.product(images, images_, residuals.mul(2 / divisor_), coefficients);
  loss_.by_images = back.gradient;
  loss_.by_coefficients = back.values;
  return loss_;
}

}  // namespace afterimage
