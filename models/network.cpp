#include "models/network.h"

#include <fmt/format.h>

#include <stdexcept>

#include "models/foundations/error.h"

namespace afterimage {

Parameters Network::clipped_pullback(const Parameters&, const Tensor&, const std::function<Tensor(const Tensor&)>&,
                                     double, const std::vector<bool>&) const {
  throw UsageError(fmt::format(
      "{}: gradients are clipped image by image in dense networks only; use mlp:WIDTH,WIDTH,...", architecture()));
}

std::unique_ptr<TangentTarget> Network::tangents_of_neurons(const Tensor&, const std::vector<Parameters>&,
                                                            const Parameters&, const Tensor&) const {
  throw std::logic_error("only fully connected networks have neurons to take tangent features of");
}

std::unique_ptr<TangentTarget> Network::tangents(const Parameters& initial, const Parameters& trained,
                                                 const std::vector<double>& along, const Tensor& basis) const {
  const Parameters drift = trained.minus(initial);
  std::vector<Parameters> points;
  points.reserve(along.size());
  for (const double t : along) points.push_back(t == 0 ? initial : t == 1 ? trained : initial.plus(drift, t));
  return tangents_at(points, drift, basis);
}

}  // namespace afterimage
