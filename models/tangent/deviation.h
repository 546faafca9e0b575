// How far training left the tangent space of the initial parameters (docs/methods.md, section 5).
#pragma once

#include "models/network.h"
#include "models/tangent/deviation_figures.h"

namespace afterimage {

struct MeasuredDeviation {
  Deviation figures;
  Tensor coefficients;  // [N, F], the best ones with tangents at both ends; undefined where their residual is missing
};

// `training` [N, d] and `control` [K, d] as the network sees them. Kernels in float64. Fills `measured` one figure
// after the other, so that those before an exception (OutOfTime, Interrupted) are known.
void measure_deviation(const Network& network, const Parameters& initial, const Parameters& trained,
                       const Tensor& training, const Tensor& control, MeasuredDeviation& measured);
inline MeasuredDeviation measure_deviation(const Network& network, const Parameters& initial, const Parameters& trained,
                                           const Tensor& training, const Tensor& control) {
  MeasuredDeviation measured;
  measure_deviation(network, initial, trained, training, control, measured);
  return measured;
}

// 1 - <A, B>_F / (||A||_F ||B||_F).
double kernel_distance(const Tensor& a, const Tensor& b);

}  // namespace afterimage
