// What an attack claims: all that scoring sees of it.
#pragma once

#include <functional>

#include "models/tensor.h"

namespace afterimage {

struct Claim {
  Tensor images;     // [M, d] as the network would see them; undefined when the attack makes none
  Tensor confirmed;  // [M] bool, which of them the attack itself confirms; undefined where it cannot
  std::function<Tensor(const Tensor&)> membership;  // images [n, d] -> scores [n], larger = member; empty when none
};

}  // namespace afterimage
