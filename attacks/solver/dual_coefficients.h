// Coefficients as the KKT conditions of margin maximisation have them, stationarity and dual feasibility (Haim et al.
// 2022; several outputs: Buzaglo et al. 2023): a multiplier lambda_j >= 0 for each candidate, whose label is given.
#pragma once

#include "attacks/solver/search.h"
#include "models/network.h"

namespace afterimage {

// With one output a_j = lambda_j y_j, y_j = +-1. With several a_j = lambda_j (e_y - e_c), c being the largest of the
// other outputs at x_j; where it changes the loss has a kink, and the derivative is that of the present c.
//
// What is searched for is v_j = lambda_j / scale. sum_j max(least - v_j, 0)^2, times `penalty`, keeps it away from
// negative values and from zero.
class DualCoefficients final : public Coefficients {
 public:
  struct Feasibility {
    double scale = 1, least = 0, penalty = 1;
  };
  // `labels` [M] int64: 0 or 1 (for -1 and +1) with one output, else the class. `bounds` takes candidates to images.
  // All of them have to outlive this.
  DualCoefficients(const Network& network, const Parameters& trained, const PixelBounds& bounds, const Tensor& labels,
                   const Feasibility& feasibility);

  Tensor initial(const TangentTarget& target, const SearchPlan& plan, Generator& random) const override;
  void of(const Tensor& candidates, const Tensor& searched, Tensor& coefficients) override;
  void pull_back(const Tensor& candidates, const Tensor& searched, const Tensor& by_coefficients, Tensor& by_searched,
                 Tensor& by_candidates) override;
  double penalty(const Tensor& searched) const;

 private:
  const Network& network_;
  const Parameters& trained_;
  const PixelBounds& bounds_;
  Tensor labels_;  // [M, 1]
  Feasibility feasibility_;
  Tensor directions_;  // [M, C], a / lambda
};

// [M] labels of candidates, an equal share for each class: 0, 1, ..., C - 1 in turn; two classes with one output.
Tensor shared_labels(std::int64_t candidates, std::int64_t outputs);

}  // namespace afterimage
