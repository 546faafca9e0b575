#pragma once

#include "attacks/attack.h"

namespace afterimage {

// Reconstruction at infinite width: the images for which the learned function is sum_i alpha_i k(x_i, .) with the
// analytic kernel k (Loo et al. 2023, Theorem 1; docs/methods.md, section 2). The search needs only the outputs, before
// and after training, and their gradients by the image. Whether a network of finite width is close enough to an
// infinite one is decided first, from its weights: those before training give its tangent kernel, and both show how far
// it left its tangent space.
Attack infinite_width_attack();

}  // namespace afterimage
