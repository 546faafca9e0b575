// The path that training takes, followed without knowing step size or momentum: gradient flow of the squared loss in
// exponential segments (METHODS 1, the flow).
#pragma once

#include <vector>

#include "models/network.h"

namespace afterimage {

struct FlowPlan {
  std::int64_t segments = 10;
  double keep = 0.6;    // of the squared residual, after each segment but the last, which goes to infinity
  double ridge = 1e-5;  // of the kernel's mean diagonal
};

// theta_0 = `start`, then the parameters after each segment: in segment k, with the empirical kernel K_k of `images`
// [n, d] at theta_k and r_k = y - f(x; theta_k), theta_{k+1} = theta_k + sum_j c_j phi(x_j), c = tau phi_1(-K_k tau)
// r_k with phi_1(z) = (e^z - 1) / z; tau is chosen so that |r|^2 falls to `keep` of itself. `targets` [n, C]. Kernels
// are decomposed in float64. Throws std::invalid_argument when there are no images or no segments.
std::vector<Parameters> gradient_flow(const Network& network, const Parameters& start, const Tensor& images,
                                      const Tensor& targets, const FlowPlan& plan = {});

}  // namespace afterimage
