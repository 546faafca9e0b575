// The path of training, without knowledge of step size or momentum: gradient flow of the squared loss in exponential
// segments (docs/methods.md, section 1); and the distance of its end from the trained parameters, with its gradient by
// the images.
#pragma once

#include <vector>

#include "models/dense_network.h"

namespace afterimage {

struct FlowPlan {
  std::int64_t segments = 10;
  double keep = 0.6;    // of the squared residual, after each segment but the last, which goes to infinity
  double ridge = 1e-5;  // of the kernel's mean diagonal
};

// theta_0 = `start`, then the parameters after each segment: in segment k, with the empirical kernel K_k of `images`
// [n, d] at theta_k and r_k = y - f(x; theta_k), theta_{k+1} = theta_k + sum_j c_j phi(x_j), c = tau phi_1(-K_k tau)
// r_k with phi_1(z) = (e^z - 1) / z; tau is chosen so that |r|^2 falls to `keep` of itself. `targets` [n, C]. Kernels
// are decomposed in float64. Throws std::invalid_argument when there are no images or no segments,
// std::runtime_error when the flow diverges: the kernel of a segment or the parameters at the end are not finite.
std::vector<Parameters> gradient_flow(const DenseNetwork& network, const Parameters& start, const Tensor& images,
                                      const Tensor& targets, const FlowPlan& plan = {});

// The images of a flow. Start, images and the parameters that its end is compared with may all be in a basis
// (DenseNetwork::in_basis).
struct FlowImages {
  Tensor images;        // [n, d]; the coefficients of the first m follow from the flow
  Tensor targets;       // [m, C]
  Tensor coefficients;  // [segments, n - m, C] of the others; undefined when there are none
};

struct FlowLoss {
  double value = 0;           // ||theta_K - theta_f||^2 / ||theta_f - theta_0||^2; infinite where the flow diverges:
                              // the tensors are then undefined
  Tensor coefficients;        // [segments, n, C] c of all images
  Tensor by_images;           // [n, d]
  Tensor by_coefficients;     // [segments, n - m, C]; undefined when there are none
  std::vector<double> times;  // tau of each segment
};

// The mismatch at the end of the flow and its gradient, by a sweep back over the segments: in each, the adjoint of
// theta_k collects the terms of coefficients, kernel, residual and features, with phi_1 of the kernel differentiated by
// divided differences (Daleckii & Krein). The segments' `times` are held fixed in the gradient: moving the cuts changes
// the end only by the error of the segments, so the omitted term vanishes as their number grows. If `times` is empty
// they are chosen as in gradient_flow(). Images cross the kinks of the ReLU only where it is smoothed. Throws
// std::invalid_argument when m is 0, there are no segments, or shapes do not fit.
FlowLoss flow_loss(const DenseNetwork& network, const Parameters& start, const Parameters& trained,
                   const FlowImages& images, const FlowPlan& plan, Smoothing relu,
                   const std::vector<double>& times = {});

// The mismatch alone.
double flow_mismatch(const DenseNetwork& network, const Parameters& start, const Parameters& trained,
                     const FlowImages& images, const FlowPlan& plan, Smoothing relu);

}  // namespace afterimage
