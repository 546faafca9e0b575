#include "models/network.h"

namespace afterimage {

std::unique_ptr<TangentTarget> Network::tangents(const Parameters& initial, const Parameters& trained,
                                                 const std::vector<double>& along) const {
  return tangents_at(points_between(initial, trained, along), trained.minus(initial));
}

}  // namespace afterimage
