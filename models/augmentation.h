// Random augmentation of training images: mirrored and moved.
#pragma once

#include <vector>

#include "models/tensor.h"

namespace afterimage {

// Throws UsageError for images of a shape without height and width, or not larger than the shift.
void require_augmentable(const std::vector<std::int64_t>& shape, std::int64_t shift);

// Images [n, d] of `shape` ([h, w] or [h, w, c]), each mirrored left to right with probability one half and moved by up
// to `shift` pixels along both axes, independently. Uncovered pixels are zero, the value of the mean image where one
// was subtracted. Throws as above.
Tensor augmented(const Tensor& images, const std::vector<std::int64_t>& shape, std::int64_t shift, Generator& random);

}  // namespace afterimage
