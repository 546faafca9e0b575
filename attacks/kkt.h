#pragma once

#include "attacks/attack.h"

namespace afterimage {

// Reconstruction from the trained parameters alone. A homogeneous network that is trained long on the logistic loss, or
// on cross-entropy, converges in direction to a KKT point of margin maximisation (Lyu & Li 2020):
//   theta = sum_i lambda_i y_i phi(x_i), lambda_i >= 0, phi the gradient of the output at theta itself
// (Haim et al. 2022; several outputs: Buzaglo et al. 2023; docs/methods.md, section 4). The attack searches for images
// and multipliers for which this holds.
//
// Its first layer is W_1 = sum_i lambda_i y_i delta_1(x_i) x_i^T: where training began at small weights, the row space
// of W_1 itself, with nothing subtracted, is that of the training images. The search then runs inside it, and linear
// programmes find and confirm images in it (docs/methods.md, section 3).
Attack kkt_attack();

}  // namespace afterimage
