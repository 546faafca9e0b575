// Where along the path that training took the tangent features are taken, once some images are known
// (docs/methods.md, section 1).
#pragma once

#include <vector>

#include "attacks/attack.h"

namespace afterimage {

inline constexpr std::int64_t points_of_path = 4;  // that the path is followed to

// Points at which the tangent features of so many known images may be held; 0: there are too many outputs, and none is
// held.
std::int64_t held_points(const Subject& subject, std::int64_t known);

// Points of the path that training took, as far as the images that are known tell: the start, two early points of the
// flow that the known images alone would have followed, moved by what the end of that flow misses, and the end. For
// other losses than the squared one, whose flow is another, and where parameters were frozen, points of the straight
// segment, as where the flow diverges. The start alone where the network has too many outputs for more. `known` [K, d];
// all in one dtype.
std::vector<Parameters> path_points(const Subject& subject, const Parameters& initial, const Parameters& trained,
                                    const Tensor& known);

}  // namespace afterimage
