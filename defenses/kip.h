// Kernel distillation: KIP and RKIP (docs/methods.md, section 7).
#pragma once

#include "defenses/defense.h"

namespace afterimage {

// Kernel inducing points (Nguyen, Chen & Lee 2021): the support S with labels y_S whose kernel regression predicts the
// training set best,
//   min over S of mean_t |y_t - K_tS (K_SS + ridge)^-1 y_S|^2 / 2.
// It searches for few images that make the same predictions on the training images: the element is the targets, the
// features are the kernel's values there (models/tangent/kernel_targets.h).
Defense kip_defense();

// Reconstruction KIP (Loo et al. 2024): the attack's own loss at infinite width with fewer images than were trained on,
//   min over S of |sum_t alpha_t k(x_t, .) - sum_s a_s k(x_s, .)|^2,  alpha = K_TT^-1 y_T,  a = K_SS^-1 y_S.
// By the kernel's largest eigenvalue it bounds KIP's loss.
Defense rkip_defense();

// RKIP at finite width: trains the network on the images, attacks it with fewer images than were trained on, and
// releases a network trained on the result, with the labels that the found coefficients stand for, K(x, x) a.
Defense rkip_finite_defense();

}  // namespace afterimage
