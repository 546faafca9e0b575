// How many training images the parameters that training changed can determine, by counting: each parameter is an
// equation, each image has its pixels and coefficients as unknowns. Reconstruction is possible where P exceeds d N
// (2509.22214); below, many sets of images explain the same change.
#pragma once

#include <string>

#include "attacks/subject.h"

namespace afterimage {

struct Capacity {
  std::int64_t equations = 0;  // parameters that training changed
  // Of one image: the pixels that the first layer's change moves (all, where that layer did not change or is not
  // dense), and a coefficient for each output.
  std::int64_t unknowns = 1;
  bool last_layer_only = false;  // only a last dense layer changed

  double images() const { return static_cast<double>(equations) / static_cast<double>(unknowns); }
  std::string images_text() const;  // how many the equations determine: "at most 3 images", or "not even one image"
};

// Where the start is not known, all parameters and pixels count.
Capacity capacity_of(const TrainedNetwork& released);

}  // namespace afterimage
