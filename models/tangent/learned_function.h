// The change of a network's outputs by training, as a function of the image: f(x; theta_f) - f(x; theta_0). In the
// kernel regime it is <h, phi(x)>. An attack at infinite width needs its values and slopes only.
#pragma once

#include <memory>
#include <optional>

#include "models/network.h"
#include "models/tangent/analytic_ntk.h"

namespace afterimage {

class LearnedFunction {
 public:
  virtual ~LearnedFunction() = default;

  virtual std::int64_t inputs() const = 0;   // d
  virtual std::int64_t outputs() const = 0;  // C
  // [n, d] -> [n, C], both float32 or both float64, to the precision that the function is known to.
  virtual Tensor values(const Tensor& images) const = 0;
  // The values, and the gradient by the images of sum_nc cotangents_nc values_nc, [n, d]. Dtypes as in values().
  struct Sloped {
    Tensor values, gradient;
  };
  virtual Sloped sloped(const Tensor& images, const Tensor& cotangents) const = 0;
  // ||h||^2, null where it is not known: it does not follow from values.
  virtual std::optional<double> squared_norm() const = 0;
};

// The change of a trained network of finite width. Computed in float32, the precision of its parameters, for arguments
// of either dtype.
class NetworkChange final : public LearnedFunction {
 public:
  NetworkChange(std::shared_ptr<const Network> network, const Parameters& initial, const Parameters& trained);
  std::int64_t inputs() const override { return network_->inputs(); }
  std::int64_t outputs() const override { return network_->outputs(); }
  Tensor values(const Tensor& images) const override;
  Sloped sloped(const Tensor& images, const Tensor& cotangents) const override;
  std::optional<double> squared_norm() const override { return squared_norm_; }

 private:
  std::shared_ptr<const Network> network_;
  Parameters initial_, trained_;
  double squared_norm_;
};

// A network of infinite width trained to the end by gradient flow on the squared loss, from a start whose mean output
// is zero: kernel regression, f(x) = K(x, X) alpha with alpha = K(X, X)^-1 y (Jacot et al. 2018).
class KernelRegression final : public LearnedFunction {
 public:
  // `images` [N, d] float32, `targets` [N, C]. Solved in float64, with a ridge of `ridge` times the mean diagonal.
  // Throws std::invalid_argument on shapes that do not fit, and c10::LinAlgError when the kernel with its ridge is not
  // positive definite: images that coincide need a ridge.
  KernelRegression(const AnalyticNtk& kernel, const Tensor& images, const Tensor& targets, double ridge = 1e-9);
  std::int64_t inputs() const override { return images_.size(1); }
  std::int64_t outputs() const override { return coefficients_.size(1); }
  Tensor values(const Tensor& images) const override;
  Sloped sloped(const Tensor& images, const Tensor& cotangents) const override;
  std::optional<double> squared_norm() const override { return squared_norm_; }

  const Tensor& coefficients() const {
    return coefficients_;
  }  // alpha [N, C] float64; for scoring only, attacks do not use them

 private:
  AnalyticNtk kernel_;
  // In float64, and the same in float32.
  Tensor images_, coefficients_, images_single_, coefficients_single_;
  double squared_norm_;
};

}  // namespace afterimage
