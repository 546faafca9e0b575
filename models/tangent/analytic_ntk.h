// The neural tangent kernel of a fully connected ReLU network of infinite width, in closed form (docs/methods.md,
// section 2; Jacot et al. 2018; the arc-cosine kernels of Cho and Saul 2009).
//
// With c = <x, x'> / d, Sigma_1 = v_1 c + u_1 and Theta_1 = g_1 c + t_1, each hidden ReLU layer continues with
//   S = r kappa_1(rho) / 2,  S' = kappa_0(rho) / 2,  r = sqrt(Sigma(x, x) Sigma(x', x')),  rho = Sigma(x, x') / r
//   Sigma_{l+1} = v_{l+1} S + u_{l+1},  Theta_{l+1} = g_{l+1} S + t_{l+1} + v_{l+1} Theta_l S'
// kappa_0(rho) = (pi - acos rho) / pi,  kappa_1(rho) = (rho (pi - acos rho) + sqrt(1 - rho^2)) / pi.
// A layer's v and u are the initial variances of its weights (times fan-in) and biases; g and t are the factors of the
// parts of its own weights and biases in the kernel:
//   NTK parameterization z = sigma_w / sqrt(fan-in) W h + sigma_b b, both trained: g = v = sigma_w^2, t = u = sigma_b^2
//   standard parameterization, biases trained from zero: v = 1, g = fan-in, u = 0, t = 1.
//
// The kernel has a cusp where both arguments are equal: its slope does not go to zero there. That allows an attack to
// find an image exactly.
#pragma once

#include <vector>

#include "models/tensor.h"

namespace afterimage {

class AnalyticNtk {
 public:
  struct Layer {
    double weight_variance = 1, bias_variance = 0;  // v, u
    double weight_gain = 1, bias_gain = 0;          // g, t
  };
  // All layers, the output layer last; 2 to 32 of them. Throws std::invalid_argument on other numbers of layers, and on
  // variances or gains that are negative or not finite.
  explicit AnalyticNtk(std::vector<Layer> layers);
  // `hidden` ReLU layers in NTK parameterization, all alike; sigma_b = 0: no biases.
  static AnalyticNtk uniform(std::int64_t hidden, double weight_variance, double bias_variance);

  // [M, d], [N, d] -> [M, N], all of one dtype (float32 or float64). Throws std::invalid_argument when `a` and `b` are
  // no matrices, or differ in d or dtype.
  Tensor operator()(const Tensor& a, const Tensor& b) const;
  Tensor diagonal(const Tensor& a) const;           // k(x, x), [M]
  Tensor diagonal_gradient(const Tensor& a) const;  // of k(x, x) by x, [M, d]

  // K(a, b) right, [M, C], and the gradient by a, with b held fixed, of sum_ic left_ic (K(a, b) right)_ic, [M, d].
  // Threads share blocks of rows, so that no M x N matrix is in memory. When `b` is `a` itself, the diagonal's part of
  // the gradient is half of that of k(x, x), which unlike k(x, x') is smooth there: twice the result is then the
  // gradient of the quadratic form if left equals right. `right` [N, C] and `left` [M, C] have the images' dtype.
  // Throws std::invalid_argument as operator() does, and when their shapes do not fit.
  struct Product {
    Tensor values, gradient;
  };
  Product product(const Tensor& a, const Tensor& b, const Tensor& right, const Tensor& left) const;

  const std::vector<Layer>& layers() const { return layers_; }

 private:
  std::vector<Layer> layers_;
};

}  // namespace afterimage
