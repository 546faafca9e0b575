// The range of a network's inputs, as the pixels that they stand for bound it.
#pragma once

#include "models/scale.h"

namespace afterimage {

// Pixels are image * scale + mean, and lie in [low, high]. Mean and scale are part of the preprocessing that ships with
// a model.
struct InputBounds {
  Tensor mean;  // [d]
  double low = 0, high = 1;
  Tensor scale = {};  // [d], above zero; undefined: one

  Tensor pixels(const Tensor& images) const { return times(images, scale) + mean.to(images.scalar_type()); }
  // The bounds on images [d], in the dtype of the mean.
  Tensor lower() const { return over(low - mean, scale); }
  Tensor upper() const { return over(high - mean, scale); }
  // How much wider the range of an image is than that of a pixel: of the pixel in the middle, for those that hardly
  // ever change may have scales of any size.
  double width() const { return scale.defined() ? scale.reciprocal().median().item<double>() : 1; }
  // From black to white in an image, likewise.
  double range() const { return (high - low) * width(); }
  InputBounds to(at::ScalarType dtype) const { return {mean.to(dtype), low, high, scale}; }
};

}  // namespace afterimage
