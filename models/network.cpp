#include "models/network.h"

namespace afterimage {

std::unique_ptr<TangentTarget> Network::tangents(const Parameters& initial, const Parameters& trained,
                                                 const std::vector<double>& along, const Tensor& basis) const {
  const Parameters drift = trained.minus(initial);
  std::vector<Parameters> points;
  points.reserve(along.size());
  for (const double t : along) points.push_back(t == 0 ? initial : t == 1 ? trained : initial.plus(drift, t));
  return tangents_at(points, drift, basis);
}

}  // namespace afterimage
