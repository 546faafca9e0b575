// How well the trained network fits images that it may have been trained on.
#pragma once

#include "attacks/subject.h"

namespace afterimage {

// [n] bool: which images [n, d] the trained network fits as it fits its training images, to within `tolerance` of a
// target. Undefined for other losses than the squared one, whose outputs at training images have no known value.
Tensor fitted(const Subject& subject, const Tensor& images, double tolerance);

// The targets that outputs [n, C] at training images are nearest to: the sign of one output, or the class of the
// largest of several as zeros and a one.
Tensor fitted_targets(const Tensor& outputs);

}  // namespace afterimage
