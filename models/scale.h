// What preprocessing divided inputs by: inputs = (pixels - mean) / scale.
#pragma once

#include "models/tensor.h"

namespace afterimage {

// `scale` [d], all of it above zero, is undefined where preprocessing did not divide; values [..., d] then pass
// unchanged, to the bit.
inline Tensor times(const Tensor& values, const Tensor& scale) {
  return scale.defined() ? values * scale.to(values.scalar_type()) : values;
}
inline Tensor over(const Tensor& values, const Tensor& scale) {
  return scale.defined() ? values / scale.to(values.scalar_type()) : values;
}

}  // namespace afterimage
