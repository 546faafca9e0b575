#include "models/tangent/flow.h"

#include <cmath>
#include <stdexcept>

namespace afterimage {
namespace {

// The kernel's eigenvalues and the residual in its eigenvectors.
struct Modes {
  Tensor values, vectors, residual;
};

Modes modes_of(const Network& network, const Parameters& at, const Tensor& images, const Tensor& targets,
               double ridge) {
  Tensor kernel = network.tangents_at({at}, at)->gram(images, {}).to(at::kDouble);
  kernel.diagonal().add_(ridge * kernel.diagonal().mean().item<double>());
  const Tensor residual = (targets - network.evaluate(at, images)).to(at::kDouble).reshape({-1, 1});
  auto [values, vectors] = at::linalg_eigh(kernel);
  return {values, vectors, at::mm(vectors.t(), residual).squeeze(1)};
}

// The time after which `keep` of |r|^2 is left, by bisection of its logarithm: what is left falls monotonically.
double time_until(const Modes& modes, double keep) {
  const double fastest = modes.values.max().item<double>();
  const Tensor energy = modes.residual.square();
  const double wanted = keep * energy.sum().item<double>();
  double low = 1e-6 / fastest, high = 1e9 / fastest;
  constexpr int halvings = 60;
  for (int i = 0; i < halvings; ++i) {
    const double middle = std::sqrt(low * high);
    const double left = (energy * at::exp(modes.values * (-2 * middle))).sum().item<double>();
    (left > wanted ? low : high) = middle;
  }
  return std::sqrt(low * high);
}

}  // namespace

std::vector<Parameters> gradient_flow(const Network& network, const Parameters& start, const Tensor& images,
                                      const Tensor& targets, const FlowPlan& plan) {
  if (images.size(0) == 0 || plan.segments < 1) throw std::invalid_argument("a flow needs images and a segment");
  std::vector<Parameters> path{start};
  for (std::int64_t segment = 0; segment < plan.segments; ++segment) {
    const Modes modes = modes_of(network, path.back(), images, targets, plan.ridge);
    const Tensor weight = segment + 1 == plan.segments
                              ? modes.values.reciprocal()
                              : -at::expm1(modes.values * -time_until(modes, plan.keep)) / modes.values;
    Tensor coefficients = at::mv(modes.vectors, weight * modes.residual).view_as(targets).to(images.scalar_type());
    path.push_back(
        path.back().plus(network.pullback(path.back(), images, [&](const Tensor&) { return coefficients; })));
  }
  return path;
}

}  // namespace afterimage
