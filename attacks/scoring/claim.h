// What an attack claims: all that scoring sees of it.
#pragma once

#include <functional>
#include <utility>

#include "models/tensor.h"

namespace afterimage {

// Records that may have been trained on or not, as an attacker who asks about their membership holds them.
struct Candidates {
  // Implicit: many attacks look at the images alone.
  Candidates(Tensor all_images = {}, Tensor all_targets = {})  // NOLINT(google-explicit-constructor)
      : images(std::move(all_images)), targets(std::move(all_targets)) {}

  Tensor images;   // [n, d] as the network sees them
  Tensor targets;  // [n, C] that they were or would have been trained towards; undefined where they are not known
};

struct Claim {
  Tensor images;     // [M, d] as the network would see them; undefined when the attack makes none
  Tensor confirmed;  // [M] bool, which of them the attack itself confirms; undefined where it cannot
  // Scores [n], larger = member, of a pool of training and control images in an order that says nothing; empty when
  // none. May throw NotApplicable.
  std::function<Tensor(const Candidates&)> membership;
};

}  // namespace afterimage
