#pragma once

#include "attacks/attack.h"

namespace afterimage {

// The span probe: counts the training images and distinguishes them from others by the row space of the first dense
// layer's change, or of the last layer's where it alone was trained (docs/methods.md, section 3;
// attacks/solver/row_span.h and last_layer.h say why). It reconstructs no image.
Attack span_attack();

}  // namespace afterimage
