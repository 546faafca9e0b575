#include "attacks/solver/regression_coefficients.h"

namespace afterimage {

RegressionCoefficients::RegressionCoefficients(AnalyticNtk kernel, const Tensor& labels, double ridge, bool learned)
    : kernel_(std::move(kernel)), labels_(labels.to(at::kDouble)), ridge_(ridge), learned_(learned) {}

Tensor RegressionCoefficients::initial(const TangentTarget&, const SearchPlan&, Generator&) const {
  return labels_.clone();
}

void RegressionCoefficients::of(const Tensor& candidates, const Tensor& searched, Tensor& coefficients) {
  Tensor kernel = kernel_(candidates, candidates);
  kernel.diagonal().add_(ridge_ * kernel.diagonal().mean());
  factor_ = at::linalg_cholesky(kernel);
  coefficients.copy_(at::cholesky_solve(searched, factor_));
  coefficients_ = coefficients;
}

// With B = (K + ridge)^-1 dL/da: dL/dy = B, and dL/dx = -d/dx <B, (K + ridge) a> at fixed B and a.
void RegressionCoefficients::pull_back(const Tensor& candidates, const Tensor&, const Tensor& by_coefficients,
                                       Tensor& by_searched, Tensor& by_candidates) {
  const Tensor back = at::cholesky_solve(by_coefficients, factor_);
  if (learned_) {
    by_searched.copy_(back);
  } else {
    by_searched.zero_();
  }
  by_candidates.sub_(kernel_.product(candidates, candidates, coefficients_, back).gradient);
  by_candidates.sub_(kernel_.product(candidates, candidates, back, coefficients_).gradient);
  const double ridge_slope =
      ridge_ / static_cast<double>(candidates.size(0)) * (back * coefficients_).sum().item<double>();
  by_candidates.sub_(kernel_.diagonal_gradient(candidates), ridge_slope);
}

}  // namespace afterimage
