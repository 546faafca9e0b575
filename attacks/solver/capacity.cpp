#include "attacks/solver/capacity.h"

#include <fmt/format.h>

#include <cmath>

#include "attacks/solver/last_layer.h"
#include "models/rounding.h"

namespace afterimage {
namespace {

std::int64_t changed_entries(const Tensor& initial, const Tensor& trained) {
  return same_but_for_rounding(initial, trained).logical_not().sum().item<std::int64_t>();
}

// Pixels that are not zero in some training image, as far as the first layer's change shows.
std::int64_t moved_pixels(const TrainedNetwork& released) {
  const DenseNetwork* dense = released.dense();
  if (dense == nullptr) return released.network->inputs();
  const std::string weight = dense->first_weight();
  const Tensor changed = same_but_for_rounding(released.initial.at(weight), released.trained.at(weight)).logical_not();
  const auto moved = changed.any(0).sum().item<std::int64_t>();
  return moved > 0 ? moved : released.network->inputs();
}

}  // namespace

std::string Capacity::images_text() const {
  const double whole = std::floor(images());
  if (whole < 1) return "not even one image";
  return fmt::format("at most {:.0f} image{}", whole, whole < 2 ? "" : "s");
}

Capacity capacity_of(const TrainedNetwork& released) {
  Capacity capacity;
  if (!released.knows_initial()) {
    capacity.equations = released.trained.count();
    capacity.unknowns = released.network->inputs() + released.network->outputs();
    return capacity;
  }
  for (std::size_t i = 0; i < released.initial.size(); ++i) {
    capacity.equations += changed_entries(released.initial[i], released.trained[i]);
  }
  capacity.last_layer_only = trained_last_layer(released).has_value();
  capacity.unknowns = moved_pixels(released) + released.network->outputs();
  return capacity;
}

}  // namespace afterimage
