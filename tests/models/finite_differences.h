// Finite differences, to check closed-form gradients against.
#pragma once

#include "models/tensor.h"

namespace afterimage {

// Central differences of `value`, of a tensor shaped like `middle` to a double, by every entry of it; float64.
template <class Value>
Tensor differences(const Tensor& middle, double step, const Value& value) {
  Tensor slopes = at::empty_like(middle);
  for (std::int64_t i = 0; i < middle.numel(); ++i) {
    Tensor up = middle.clone(), down = middle.clone();
    up.view({-1})[i] += step;
    down.view({-1})[i] -= step;
    slopes.view({-1})[i] = (value(up) - value(down)) / (2 * step);
  }
  return slopes;
}

}  // namespace afterimage
