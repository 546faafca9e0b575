#include "models/tangent/kernel_targets.h"

#include <stdexcept>

namespace afterimage {
namespace {

void require(const Tensor& images, const Tensor& columns) {
  if (images.dim() != 2 || columns.dim() != 2 || images.size(0) < 1 || columns.size(0) != images.size(0) ||
      images.scalar_type() != at::kDouble || columns.scalar_type() != at::kDouble) {
    throw std::invalid_argument("kernel targets take float64 images [N, d] and columns [N, C]");
  }
}

// [M, M] -> [M C, M C], image-major: nothing between outputs.
Tensor for_outputs(const Tensor& kernel, std::int64_t outputs) {
  return at::kron(kernel, at::eye(outputs, kernel.options()));
}

}  // namespace

KernelElement::KernelElement(AnalyticNtk kernel, Tensor images, Tensor coefficients)
    : kernel_(std::move(kernel)), images_(std::move(images)), coefficients_(std::move(coefficients)), squared_norm_(0) {
  require(images_, coefficients_);
  squared_norm_ = (coefficients_ * at::mm(kernel_(images_, images_), coefficients_)).sum().item<double>();
}

Tensor KernelElement::inner(const Tensor& images, Smoothing) { return at::mm(kernel_(images, images_), coefficients_); }

Tensor KernelElement::gram(const Tensor& images, Smoothing) {
  return for_outputs(kernel_(images, images), features_per_image());
}

const TangentTarget::Loss& KernelElement::loss(const Tensor& images, const Tensor& coefficients, Smoothing) {
  const auto cross = kernel_.product(images, images_, coefficients_, coefficients);
  const auto own = kernel_.product(images, images, coefficients, coefficients);
  loss_.value = squared_norm_ + (coefficients * (own.values - 2 * cross.values)).sum().item<double>();
  loss_.by_images = (own.gradient - cross.gradient).mul_(2);
  loss_.by_coefficients = (own.values - cross.values).mul_(2);
  return loss_;
}

KernelPredictions::KernelPredictions(AnalyticNtk kernel, Tensor images, Tensor targets)
    : kernel_(std::move(kernel)), images_(std::move(images)), targets_(std::move(targets)), squared_norm_(0) {
  require(images_, targets_);
  squared_norm_ = targets_.square().sum().item<double>() / static_cast<double>(images_.size(0));
}

Tensor KernelPredictions::inner(const Tensor& images, Smoothing) {
  return at::mm(kernel_(images, images_), targets_).div_(static_cast<double>(images_.size(0)));
}

Tensor KernelPredictions::gram(const Tensor& images, Smoothing) {
  const Tensor features = kernel_(images, images_);
  return for_outputs(at::mm(features, features.t()).div_(static_cast<double>(images_.size(0))), features_per_image());
}

const TangentTarget::Loss& KernelPredictions::loss(const Tensor& images, const Tensor& coefficients, Smoothing) {
  const double count = static_cast<double>(images_.size(0));
  const Tensor residuals = at::mm(kernel_(images_, images), coefficients).sub_(targets_);
  loss_.value = residuals.square().sum().item<double>() / count;
  const auto back = kernel_.product(images, images_, residuals.mul(2 / count), coefficients);
  loss_.by_images = back.gradient;
  loss_.by_coefficients = back.values;
  return loss_;
}

}  // namespace afterimage
