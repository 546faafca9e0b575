// Elements of the feature space of a kernel in closed form, for distillation, which asks of a known training set what
// an attack asks of weights: which few images make the same element.
//
// Outputs share one kernel: coefficients are [M, C], feature c of image x is phi(x) in the c-th copy of the space.
#pragma once

#include "models/tangent/analytic_ntk.h"
#include "models/tangent/target.h"

namespace afterimage {

// phi(x) = k(x, .): h = sum_i alpha_i k(x_i, .), what a network of infinite width learned from images x_i with dual
// coefficients alpha. The loss is the attack's at infinite width (docs/methods.md, section 2) and RKIP's
// (docs/methods.md, section 7):
//   ||h - sum_j a_j k(x_j, .)||^2 = alpha' K_TT alpha - 2 alpha' K_TS a + a' K_SS a.
class KernelElement final : public TangentTarget {
 public:
  // `images` [N, d] and `coefficients` [N, C], float64. Throws std::invalid_argument on other shapes and dtypes.
  KernelElement(AnalyticNtk kernel, Tensor images, Tensor coefficients);

  std::int64_t dimension() const override { return images_.size(1); }
  std::int64_t features_per_image() const override { return coefficients_.size(1); }
  at::ScalarType dtype() const override { return at::kDouble; }
  double squared_norm() const override { return squared_norm_; }
  Tensor inner(const Tensor& images, Smoothing) override;
  Tensor gram(const Tensor& images, Smoothing) override;
  const Loss& loss(const Tensor& images, const Tensor& coefficients, Smoothing) override;

 private:
  AnalyticNtk kernel_;
  Tensor images_, coefficients_;
  double squared_norm_;
  Loss loss_;
};

// phi(x) = k(x, X_T) / sqrt(N): what a kernel predictor with one image in its support says at the training images. h is
// the targets themselves, over sqrt(N), so that the loss is twice KIP's (Nguyen et al. 2021; docs/methods.md, section
// 7):
//   ||h - sum_j a_j phi(x_j)||^2 = mean_i |y_i - sum_j k(x_i, x_j) a_j|^2.
// It is KernelElement's, seen through the kernel operator of the training images: at most lambda_max(K_TT) / N times
// that one's loss, where alpha = K_TT^-1 y.
class KernelPredictions final : public TangentTarget {
 public:
  // `images` [N, d] and `targets` [N, C], float64. Throws std::invalid_argument on other shapes and dtypes.
  KernelPredictions(AnalyticNtk kernel, Tensor images, Tensor targets);

  std::int64_t dimension() const override { return images_.size(1); }
  std::int64_t features_per_image() const override { return targets_.size(1); }
  at::ScalarType dtype() const override { return at::kDouble; }
  double squared_norm() const override { return squared_norm_; }
  Tensor inner(const Tensor& images, Smoothing) override;
  Tensor gram(const Tensor& images, Smoothing) override;
  const Loss& loss(const Tensor& images, const Tensor& coefficients, Smoothing) override;

 private:
  AnalyticNtk kernel_;
  Tensor images_, targets_;
  double squared_norm_;
  Loss loss_;
};

}  // namespace afterimage
