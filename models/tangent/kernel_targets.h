// Elements of the feature space of a kernel in closed form, for distillation, which looks for few images with the same
// element as a known training set.
//
// Outputs share one kernel: coefficients are [M, C], and feature c of image x is phi(x) in the c-th copy of the space.
#pragma once

#include "models/tangent/analytic_ntk.h"
#include "models/tangent/target.h"

namespace afterimage {

// What both regimes share: training images X_T [N, d] and columns [N, C] with which <h, phi_c(x)> =
// k(x, X_T) columns_c / divisor.
class KernelTarget : public TangentTarget {
 public:
  std::int64_t dimension() const final { return images_.size(1); }
  std::int64_t features_per_image() const final { return columns_.size(1); }
  at::ScalarType dtype() const final { return at::kDouble; }
  double squared_norm() const final { return squared_norm_; }
  Tensor inner(const Tensor& images, Smoothing) final;
  Tensor gram(const Tensor& images, Smoothing) final;

 protected:
  // `images` [N, d] and `columns` [N, C], float64. Throws std::invalid_argument on other shapes and dtypes.
  KernelTarget(AnalyticNtk kernel, Tensor images, Tensor columns);

  AnalyticNtk kernel_;
  Tensor images_, columns_;
  double divisor_ = 1, squared_norm_ = 0;
  Loss loss_;

 private:
  // <phi(x_i), phi(x_j)> of one output for images [M, d]: [M, M].
  virtual Tensor gram_of_one(const Tensor& images) const = 0;
};

// phi(x) = k(x, .): h = sum_i alpha_i k(x_i, .), what a network of infinite width learned from images x_i with dual
// coefficients alpha. The loss is that of the attack at infinite width (docs/methods.md, section 2) and of RKIP
// (docs/methods.md, section 7):
//   ||h - sum_j a_j k(x_j, .)||^2 = alpha' K_TT alpha - 2 alpha' K_TS a + a' K_SS a.
class KernelElement final : public KernelTarget {
 public:
  // `coefficients` are alpha [N, C]. Throws as KernelTarget does.
  KernelElement(AnalyticNtk kernel, Tensor images, Tensor coefficients);
  const Loss& loss(const Tensor& images, const Tensor& coefficients, Smoothing) override;

 private:
  Tensor gram_of_one(const Tensor& images) const override;
};

// phi(x) = k(x, X_T) / sqrt(N): the predictions of a kernel predictor with one image in its support at the training
// images. h is the targets themselves, over sqrt(N), so that the loss is twice that of KIP (Nguyen et al. 2021;
// docs/methods.md, section 7):
//   ||h - sum_j a_j phi(x_j)||^2 = mean_i |y_i - sum_j k(x_i, x_j) a_j|^2.
// It is the loss of KernelElement with the kernel operator of the training images applied to the difference: at most
// lambda_max(K_TT) / N times that loss, where alpha = K_TT^-1 y.
class KernelPredictions final : public KernelTarget {
 public:
  // `targets` are y [N, C]. Throws as KernelTarget does.
  KernelPredictions(AnalyticNtk kernel, Tensor images, Tensor targets);
  const Loss& loss(const Tensor& images, const Tensor& coefficients, Smoothing) override;

 private:
  Tensor gram_of_one(const Tensor& images) const override;
};

}  // namespace afterimage
