// What is known of the values of images: groups of columns that are levels of one value (ImageSpace::one_hot), and
// which values pixels have.
#pragma once

#include "models/image_space.h"

namespace afterimage {

// Inputs [n, d] with the largest level of each group at one and the rest at zero, float64.
Tensor nearest_rows(const ImageSpace& space, const Tensor& inputs);
// [n] bool: which of inputs [n, d] are such rows, to 2 % of their norm.
Tensor are_rows(const ImageSpace& space, const Tensor& inputs);
// `row` [d], and all rows that differ from it in one group, [1 + m, d] float64: of each group in turn, each other
// level.
Tensor neighbours_of(const ImageSpace& space, const Tensor& row);
// Other rows [k, d] that differ from `row` [d] in one, two or three groups and lie in the space of `basis` [r, d],
// orthonormal rows, float64; `most` of them. With more than 200 levels to change to, in one or two; with more than
// 1000, in one.
Tensor rows_near(const ImageSpace& space, const Tensor& basis, const Tensor& row, std::size_t most = 64);
// [n] bool: which are what images of this space can be: such rows, where groups are known, with pixels at the values
// that these have (ImageSpace::levels), but for one in twenty, where they have few. Sums of images are seldom.
Tensor are_possible(const ImageSpace& space, const Tensor& inputs);

}  // namespace afterimage
