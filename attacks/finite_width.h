#pragma once

#include "attacks/attack.h"

namespace afterimage {

// Reconstruction from the change of all parameters, h = theta_f - theta_0, as a sum of tangent features of few images
// (Loo et al. 2024, docs/methods.md, section 1). Features are taken at any points of the segment between both. The
// search is over pixels or, where there is one, inside the row space of the first layer's change (docs/methods.md,
// section 3).
Attack finite_width_attack();

}  // namespace afterimage
