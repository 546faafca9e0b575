// The soft penalty that keeps candidate images inside the pixel range.
#pragma once

#include "models/image_space.h"

namespace afterimage {

// The weight that Loo et al. 2024 use (appendix).
inline constexpr double pixel_penalty = 0.1;

// weight * sum over images of the mean over pixels of the squared excess outside their bounds.
class PixelBounds {
 public:
  virtual ~PixelBounds() = default;
  // In the dtype of the bounds' mean. With `basis` [r, d] candidates are coordinates [M, r] in it.
  PixelBounds(const ImageSpace& space, const Tensor& basis, double weight);

  // The penalty of candidates [M, k]; adds its gradient, times `scale`, to `gradient` [M, k].
  virtual double add_gradient(const Tensor& candidates, double scale, Tensor& gradient);
  // After every step of a search: moves candidates to where they may be. A soft penalty alone moves none.
  virtual void restrain(Tensor&) const {}
  Tensor to_images(const Tensor& candidates) const;  // [M, k] -> [M, d]
  Tensor from_images(const Tensor& images) const;    // [M, d] -> [M, k]
  double width() const { return width_; }            // of an image's range, in that of a pixel

 protected:
  const Tensor& lower() const { return lower_; }
  const Tensor& upper() const { return upper_; }

 private:
  Tensor basis_, lower_, upper_;
  double weight_, width_;
  Tensor pixels_, excess_;  // [M, d], reused
};

}  // namespace afterimage
