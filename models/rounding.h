// How finely weights are stored, as their values show it: a file may hold float32 whose values were rounded before.
#pragma once

#include <string>

#include "models/parameters.h"

namespace afterimage {

struct Storage {
  std::string name;        // "float16", "bfloat16", "8 bits with one scale", ...; "" for float32 and float64
  double mean_square = 0;  // of the rounding, one value
};
// Of one weight [n, ...].
Storage storage_of(const Tensor& weights);
// The name where all weights of two or more dimensions, but those that are zero, are stored so; else "".
std::string storage_of(const Parameters& parameters);

// One line on weights that are stored more coarsely than float32; else "".
std::string rounding_note(const Parameters& parameters);

// Which values are the same, or would be but for rounding to the 16-bit type in which all of `after` are stored; of one
// shape.
Tensor same_but_for_rounding(const Tensor& before, const Tensor& after);

}  // namespace afterimage
