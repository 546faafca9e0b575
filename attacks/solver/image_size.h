// The size of an image, as the scale of distances that decide whether two images are the same.
#pragma once

#include "models/image_space.h"

namespace afterimage {

// L2 norm of an image or of its contrast (what is left without its own mean pixel), whichever is less: where no mean
// was subtracted from bright images, all are long and near each other, and only their contrast distinguishes them.
class ImageSize {
 public:
  // Of images in coordinates [r] of `basis` [r, d], or, where that is undefined, of images [d] themselves.
  ImageSize(const ImageSpace& space, const Tensor& basis);
  // [n] of coordinates [n, r], in their dtype.
  Tensor operator()(const Tensor& coordinates) const;
  // [n] distance of coordinates [r] from each of `others` [n, r], relative to the larger of the two.
  Tensor relative_distances(const Tensor& others, const Tensor& coordinates) const;

 private:
  Tensor squared_contrast(const Tensor& coordinates) const;

  ImageSpace space_;  // float64
  // With a basis: contrast is affine in coordinates z, and its square is z' square z + 2 linear z + constant.
  Tensor square_, linear_;
  double constant_ = 0;
};

}  // namespace afterimage
