// Sliding Frank-Wolfe (Denoyelle et al. 2019) for the infinite-width measure: which few images x_j with coefficients
// a_j make sum_j a_j k(x_j, .) equal to the learned function u.
//
// What is left of u, r = u - sum_j a_j k(x_j, .), is a function with a cusp at every image that is missing. Each round
// climbs it from many points at once, adds the summits to the support, solves for all coefficients, slides all images
// together, and drops those that explain almost nothing. An image is found exactly, and then no longer hides those next
// to it.
#pragma once

#include <vector>

#include "models/image_space.h"
#include "models/job.h"
#include "models/tangent/learned_function.h"

namespace afterimage {

struct FrankWolfePlan {
  std::int64_t rounds = 200;    // at most
  std::int64_t climbers = 300;  // points that climb in a round
  std::int64_t climb_steps = 60, slide_steps = 60;
  std::int64_t largest_support = 4000;
  double climb_rate = 0.05, slide_rate = 0.02;  // Adam, in pixel units, falling to a fiftieth
  double enough = 1e-9;                         // of the learned function's squared norm left unexplained
};

struct Measure {
  Tensor images;                  // [M, d] float64
  Tensor coefficients;            // [M, C] float64
  std::vector<double> residuals;  // mean |r|^2 over mean |u|^2 at random points, after each round and at the end
  std::int64_t iterations = 0;    // climbing and sliding steps
};

// Images stay in the range of `space`. `start` [K, d] is the initial support, undefined: none. Ends after the planned
// rounds, when enough is explained, or when several rounds in a row gained nothing. The support is empty where no image
// was worth adding. The state may be kept after every round. Throws Interrupted, and c10::LinAlgError where the
// support's kernel is not positive definite with its ridge.
Measure frank_wolfe(const LearnedFunction& learned, const AnalyticNtk& kernel, const ImageSpace& space,
                    const Tensor& start, const FrankWolfePlan& plan, Job& job);

}  // namespace afterimage
