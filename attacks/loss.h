#pragma once

#include "attacks/attack.h"

namespace afterimage {

// Membership by the outputs alone: minus the loss (Yeom et al. 2018, arXiv 1709.01604), minus the loss less that of the
// weights before training (the base model as the one reference), or the margin.
Attack loss_attack();

}  // namespace afterimage
