// The prior that candidates are pictures, whose neighbouring pixels are mostly alike: total variation, as attacks on
// gradients use it (Geiping et al., NeurIPS 2020). Where the parameters' change leaves many images possible, as behind
// convolutions, it selects among them.
#pragma once

#include "attacks/solver/pixel_bounds.h"

namespace afterimage {

// PixelBounds, and of candidates [M, d] that are themselves images, of the shape of the space ([h, w] or [h, w, c], h
// and w at least 2, d in all):
//   unit * weight * mean over images of (mean |vertical difference| + mean |horizontal difference|),
// of pixels, not of what the network sees; |t| is smoothed to sqrt(t^2 + 0.01^2) in a pixel's range.
class SmoothBounds final : public PixelBounds {
 public:
  SmoothBounds(const ImageSpace& space, double penalty, double weight, double unit);

  double add_gradient(const Tensor& candidates, double scale, Tensor& gradient) override;

 private:
  double add_along(std::int64_t dimension, const Tensor& pictures, double scale, Tensor& gradient);

  std::int64_t height_, width_, channels_;
  Tensor scale_;  // of pixels [h, w, c], or undefined
  double weight_, range_;
  Tensor pictures_, gradient_;      // [M, h, w, c], reused
  Tensor difference_[2], size_[2];  // along either dimension, reused
};

}  // namespace afterimage
