// The one search of all tangent attacks: particles, each an image with coefficients, moved until their features add up
// to h.
#pragma once

#include "attacks/solver/pixel_bounds.h"
#include "models/job.h"
#include "models/tangent/target.h"

namespace afterimage {

struct SearchPlan {
  std::int64_t candidates = 40;      // M
  std::int64_t steps = 1000;         // the length of the schedules
  double image_rate = 0.02;          // Adam, in pixel units; times the width of the images' range
  double coefficient_rate = 0.02;    // Adam, divided by M
  double initial_coefficient = 0.5;  // uniform in +- this, divided by M
  double initial_pixel_deviation = 0.2;
  bool until_settled = true;               // go on after the steps, for half as many at most, while the loss falls
  double beta_start = 12, beta_end = 200;  // of the smoothed ReLU, rising linearly over the steps
};

// How the coefficients a [M, F] of the features come from what is searched for beside the images, v.
class Coefficients {
 public:
  virtual ~Coefficients() = default;
  // v at the start [M, ...], of `plan.initial_coefficient`'s size.
  virtual Tensor initial(const TangentTarget& target, const SearchPlan& plan, Generator& random) const = 0;
  // a at v and the candidates [M, k], as the target takes them.
  virtual void of(const Tensor& candidates, const Tensor& searched, Tensor& coefficients) = 0;
  // The derivative by a of the last call of of(), as the derivative by v, with that of any penalty on v itself. Where a
  // depends on the candidates as well, what comes through it is added to their gradient.
  virtual void pull_back(const Tensor& candidates, const Tensor& searched, const Tensor& by_coefficients,
                         Tensor& by_searched, Tensor& by_candidates) = 0;
};

// a = v, uniform at the start.
class FreeCoefficients final : public Coefficients {
 public:
  Tensor initial(const TangentTarget& target, const SearchPlan& plan, Generator& random) const override;
  void of(const Tensor& candidates, const Tensor& searched, Tensor& coefficients) override;
  void pull_back(const Tensor& candidates, const Tensor& searched, const Tensor& by_coefficients, Tensor& by_searched,
                 Tensor& by_candidates) override;
};

struct SearchResult {
  Tensor candidates;    // [M, k], as the target takes them
  Tensor coefficients;  // [M, F]
  Tensor searched;      // what they come from
  std::int64_t iterations = 0;
  double loss_initial = 0, loss_final = 0;  // ||h - sum a phi||^2
  bool settled = false;                     // the loss had stopped falling when the search ended
};

// The candidates in float64, those that explain most first.
Tensor by_weight(const SearchResult& found);

// As a part of the state of longer work, and back; without `searched`.
State state_of(const SearchResult& found);
SearchResult result_of(const State& state);

// Minimises (loss + penalty) / ||h||^2 from random candidates: images from N(0, 0.2^2) a pixel. Over the planned steps
// the ReLU is sharpened and, in the last 40 %, the step size falls. The search has settled when 100 steps lower the
// loss by less than 1 %. Its state may be kept before every step.
SearchResult search(TangentTarget& target, PixelBounds& bounds, std::int64_t pixels, const SearchPlan& plan,
                    Coefficients& coefficients, Job& job);
// With coefficients that are free.
SearchResult search(TangentTarget& target, PixelBounds& bounds, std::int64_t pixels, const SearchPlan& plan, Job& job);

}  // namespace afterimage
