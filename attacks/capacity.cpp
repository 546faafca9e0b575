#include "attacks/capacity.h"

#include <algorithm>

namespace afterimage {
namespace {

constexpr std::size_t last_layer = 2;  // its weight and its bias

std::int64_t changed_entries(const Tensor& initial, const Tensor& trained) {
  return initial.ne(trained).sum().item<std::int64_t>();
}

// Pixels that some training image has, as far as the first layer's change tells.
std::int64_t moved_pixels(const Subject& subject) {
  const FirstLayer first = subject.network->first_layer();
  if (!first.dense) return subject.network->inputs();
  const Tensor change = subject.trained.at(first.weight) - subject.initial.at(first.weight);
  const auto moved = change.ne(0).any(0).sum().item<std::int64_t>();
  return moved > 0 ? moved : subject.network->inputs();
}

}  // namespace

Capacity capacity_of(const Subject& subject) {
  Capacity capacity;
  bool below = false;
  for (std::size_t i = 0; i < subject.initial.size(); ++i) {
    const std::int64_t changed = changed_entries(subject.initial[i], subject.trained[i]);
    capacity.equations += changed;
    below = below || (changed > 0 && i + last_layer < subject.initial.size());
  }
  capacity.last_layer_only = capacity.equations > 0 && !below;
  capacity.unknowns = moved_pixels(subject) + subject.network->outputs();
  return capacity;
}

}  // namespace afterimage
