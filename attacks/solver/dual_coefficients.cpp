#include "attacks/solver/dual_coefficients.h"

#include <algorithm>
#include <limits>

namespace afterimage {

DualCoefficients::DualCoefficients(const Network& network, const Parameters& trained, const PixelBounds& bounds,
                                   const Tensor& labels, const Feasibility& feasibility)
    : network_(network),
      trained_(trained),
      bounds_(bounds),
      labels_(labels.unsqueeze(1)),
      feasibility_(feasibility),
      directions_(at::zeros({labels.size(0), network.outputs()}, trained[0].options())) {
  if (network.outputs() == 1) directions_.copy_(labels_ * 2 - 1);
}

Tensor DualCoefficients::initial(const TangentTarget& target, const SearchPlan& plan, Generator& random) const {
  const double count = static_cast<double>(plan.candidates);
  return at::rand({plan.candidates, 1}, random, target.dtype()).mul_(plan.initial_coefficient / count);
}

void DualCoefficients::of(const Tensor& candidates, const Tensor& searched, Tensor& coefficients) {
  if (network_.outputs() > 1) {
    const Tensor outputs = network_.evaluate(trained_, bounds_.to_images(candidates));
    const Tensor other =
        outputs.scatter(1, labels_, -std::numeric_limits<double>::infinity()).argmax(1, /*keepdim=*/true);
    directions_.zero_().scatter_(1, labels_, 1).scatter_(1, other, -1);
  }
  at::mul_out(coefficients, directions_, searched);
  coefficients.mul_(feasibility_.scale);
}

void DualCoefficients::pull_back(const Tensor&, const Tensor& searched, const Tensor& by_coefficients,
                                 Tensor& by_searched, Tensor&) {
  at::sum_out(by_searched, by_coefficients * directions_, {1}, /*keepdim=*/true);
  by_searched.mul_(feasibility_.scale);
  by_searched.add_((feasibility_.least - searched).clamp_min_(0), -2 * feasibility_.penalty);
}

double DualCoefficients::penalty(const Tensor& searched) const {
  return feasibility_.penalty * (feasibility_.least - searched).clamp_min_(0).square_().sum().item<double>();
}

Tensor shared_labels(std::int64_t candidates, std::int64_t outputs) {
  return at::arange(candidates, at::kLong).remainder(std::max<std::int64_t>(outputs, 2));
}

}  // namespace afterimage
