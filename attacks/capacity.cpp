#include "attacks/capacity.h"

#include "attacks/last_layer.h"

namespace afterimage {
namespace {

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
  for (std::size_t i = 0; i < subject.initial.size(); ++i) {
    capacity.equations += changed_entries(subject.initial[i], subject.trained[i]);
  }
  capacity.last_layer_only = trained_last_layer(subject).has_value();
  capacity.unknowns = moved_pixels(subject) + subject.network->outputs();
  return capacity;
}

}  // namespace afterimage
