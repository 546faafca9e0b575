#pragma once

#include "attacks/attack.h"

namespace afterimage {

// Exact images from the first layer's change and the pixel range alone: linear programmes over the polytope of images
// in the row span whose pixels are in range end at training images that have many pixels at a bound (docs/methods.md,
// section 3). It needs no kernel, no limit of width and no particular loss.
Attack vertices_attack();

}  // namespace afterimage
