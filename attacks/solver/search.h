// The one search of all tangent attacks: particles, each an image with coefficients, moved until their features add up
// to h.
#pragma once

#include "attacks/solver/pixel_bounds.h"
#include "models/base/progress.h"
#include "models/tangent/target.h"

namespace afterimage {

struct SearchPlan {
  std::int64_t candidates = 40;      // M
  std::int64_t steps = 1000;         // the length of the schedules
  double image_rate = 0.02;          // Adam, in pixel units
  double coefficient_rate = 0.02;    // Adam, divided by M
  double initial_coefficient = 0.5;  // uniform in +- this, divided by M
  double initial_pixel_deviation = 0.2;
  bool until_settled = true;               // go on after the steps, for half as many at most, while the loss falls
  double beta_start = 12, beta_end = 200;  // of the smoothed ReLU, rising linearly over the steps
};

struct SearchResult {
  Tensor candidates;    // [M, k], as the target takes them
  Tensor coefficients;  // [M, F]
  std::int64_t iterations = 0;
  double loss_initial = 0, loss_final = 0;  // ||h - sum a phi||^2
  bool settled = false;                     // the loss had stopped falling when the search ended
};

// Minimises (loss + penalty) / ||h||^2 from random candidates: images from N(0, 0.2^2) a pixel. Over the planned steps
// the ReLU is sharpened and, in the last 40 %, the step size falls. The search has settled when 100 steps lower the
// loss by less than 1 %.
SearchResult search(TangentTarget& target, PixelBounds& bounds, std::int64_t pixels, const SearchPlan& plan,
                    Generator& random, Progress& progress);

}  // namespace afterimage
