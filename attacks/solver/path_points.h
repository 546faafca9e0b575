// The points of the path of training at which tangent features are taken, once some images are known (docs/methods.md,
// section 1).
#pragma once

#include <vector>

#include "attacks/subject.h"

namespace afterimage {

inline constexpr std::int64_t points_of_path = 4;  // where no other segments are asked for

// Points at which the tangent features of so many known images may be held; 0: there are too many outputs, and none is
// held.
std::int64_t held_points(const TrainedNetwork& released, std::int64_t known);

// Points of the path of training, as far as the known images show it: the start, early points of the gradient flow of
// the known images alone (after these of its segments), moved by what the end of that flow misses, and the end. For
// other losses than the squared one, whose flow is another, and where parameters were frozen, points of the straight
// segment, as where the flow diverges. The start alone where the network has too many outputs for more. `known` [K, d];
// all in one dtype. The network has to be dense.
std::vector<Parameters> path_points(const Subject& subject, const Parameters& initial, const Parameters& trained,
                                    const Tensor& known, const std::vector<std::size_t>& segments = {2, 4});

}  // namespace afterimage
