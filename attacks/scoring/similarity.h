// The similarity of two images.
#pragma once

#include "models/tensor.h"

namespace afterimage {

// L2 distances between rows of `a` [n, d] and `b` [m, d]: [n, m], float64 (computed as differences, not by expanding
// the square: equal rows are exactly zero apart).
Tensor distances(const Tensor& a, const Tensor& b);

// Structural similarity of pairs of images with pixels in [0, 1] (Wang et al. 2004): 11 x 11 Gaussian window,
// sigma 1.5, K1 = 0.01, K2 = 0.03, valid positions only, mean over positions and channels. `a`, `b` [n, h, w] or [n, h,
// w, c]; returns [n] float64. Images smaller than the window use the largest odd window that fits.
Tensor ssim(const Tensor& a, const Tensor& b);

}  // namespace afterimage
