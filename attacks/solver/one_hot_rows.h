// Rows of which the groups of columns are known that are levels of one value (ImageSpace::one_hot).
#pragma once

#include "models/image_space.h"

namespace afterimage {

// Inputs [n, d] with the largest level of each group at one and the rest at zero, float64.
Tensor nearest_rows(const ImageSpace& space, const Tensor& inputs);
// [n] bool: which of inputs [n, d] are such rows, to 2 % of their norm.
Tensor are_rows(const ImageSpace& space, const Tensor& inputs);

}  // namespace afterimage
