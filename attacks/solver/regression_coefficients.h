// Coefficients that are not free: those of kernel regression on the candidates themselves, a = (K_SS + ridge) ^-1 y_S,
// as in KIP and RKIP (docs/methods.md, section 7). What is searched for beside the images are the labels y_S, or
// nothing.
#pragma once

#include "attacks/solver/search.h"
#include "models/tangent/analytic_ntk.h"

namespace afterimage {

class RegressionCoefficients final : public Coefficients {
 public:
  // `labels` [M, C] to begin with, float64; they stay unless `learned`. `ridge` times the mean diagonal of K_SS is
  // added to it. Candidates have to be float64 as well.
  RegressionCoefficients(AnalyticNtk kernel, const Tensor& labels, double ridge, bool learned);

  Tensor initial(const TangentTarget& target, const SearchPlan& plan, Generator& random) const override;
  // Throws c10::LinAlgError when K_SS with its ridge is not positive definite: candidates that coincide need one.
  void of(const Tensor& candidates, const Tensor& searched, Tensor& coefficients) override;
  void pull_back(const Tensor& candidates, const Tensor& searched, const Tensor& by_coefficients, Tensor& by_searched,
                 Tensor& by_candidates) override;

 private:
  AnalyticNtk kernel_;
  Tensor labels_;
  double ridge_;
  bool learned_;
  Tensor factor_, coefficients_;  // of the last call of of()
};

}  // namespace afterimage
