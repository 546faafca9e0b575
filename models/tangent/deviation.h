// How far training left the tangent space of the initial parameters (docs/methods.md, section 5).
#pragma once

#include <optional>
#include <string>

#include "models/network.h"

namespace afterimage {

struct KernelDeviation {
  std::optional<double> kernel_distance;  // 1 - <K_0, K_f> / (||K_0|| ||K_f||), Frobenius, on the training images
  // The same distance to the analytic kernel of infinite width, from the kernels at the start and at the end.
  std::optional<double> initial_to_infinite, final_to_infinite;
  double linearization_error = 0;  // ||f(x; theta_f) - f_lin(x)|| / ||f(x; theta_f)|| on the training images
  double linearization_error_control = 0;
  double relative_parameter_change = 0;  // ||theta_f - theta_0|| / ||theta_0||
  // ||h - sum a phi||^2 / ||h||^2 at the training images with the best coefficients: what bounds any attack with these
  // features. Tangents at both ends, and at the trained end alone.
  std::optional<double> residual_at_truth, residual_at_truth_final;
  Tensor coefficients;  // [N, F], the best ones with tangents at both ends; undefined where the residual is missing
  double parameters_per_unknown = 0;  // P / (d N)
  std::string reason;                 // why any of the above is missing
};

// `training` [N, d] and `control` [K, d] as the network sees them. Kernels in float64.
KernelDeviation measure_deviation(const Network& network, const Parameters& initial, const Parameters& trained,
                                  const Tensor& training, const Tensor& control);

// 1 - <A, B>_F / (||A||_F ||B||_F).
double kernel_distance(const Tensor& a, const Tensor& b);

}  // namespace afterimage
