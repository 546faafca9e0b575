// Fully connected layers recognised by the shapes of their tensors, under any names.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/parameters.h"

namespace afterimage {

struct DenseLayers {
  std::vector<std::string> weights;  // names, from the input up
  std::vector<std::string> biases;   // "" where a layer has none
  std::vector<std::int64_t> sizes;   // d, hidden widths, C

  std::string architecture() const;  // "mlp:WIDTH,..."; the shapes do not show activations, ReLU is assumed
};

// Null where a tensor is neither a weight [out, in] nor its bias [out] ("PREFIX.weight" and "PREFIX.bias"), and where
// the layers do not form a chain with at least one hidden layer, neither in the order of the file nor in that of their
// names (numbers by value: "layers.2" before "layers.10").
std::optional<DenseLayers> dense_layers(const Parameters& parameters);

}  // namespace afterimage
