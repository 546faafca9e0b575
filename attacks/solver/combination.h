// Sums and other combinations of images, which a row space contains beside the images themselves.
#pragma once

#include "models/tensor.h"

namespace afterimage {

// Whether `image` [k] is a linear combination of the rows of `known` [K, k], float64, but for a hundredth of its norm.
// Training images hardly ever are, unless there are nearly as many of them as dimensions; then none is told from the
// others by this (false).
bool is_combination(const Tensor& known, const Tensor& image);

}  // namespace afterimage
