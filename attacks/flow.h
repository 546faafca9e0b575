#pragma once

#include "attacks/attack.h"

namespace afterimage {

// Refines the candidates of other attacks and tests them by the training that they would have caused: gradient flow of
// the squared loss on the candidates, from the initial parameters to its end, differentiated through (docs/methods.md,
// section 1). Its mismatch with the trained parameters distinguishes images from mixtures that look like them, which
// the tangent loss cannot.
Attack flow_attack();

}  // namespace afterimage
