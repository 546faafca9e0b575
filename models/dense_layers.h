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
  std::vector<std::string> beside;   // of tensors that are no parameters of layers, like a mean and a scale of inputs

  std::string architecture() const;  // "mlp:WIDTH,..." or "linear"; the shapes do not show activations, ReLU is assumed
};

// Null where a tensor is neither a weight [out, in] nor its bias [out] ("PREFIX.weight" and "PREFIX.bias", or without
// prefix) but is named as parameters of layers are; and where the layers do not form a chain, neither in the order of
// the file nor in that of their names (numbers by value: "layers.2" before "layers.10"), nor in one other order alone.
std::optional<DenseLayers> dense_layers(const Parameters& parameters);

// What keeps parameters from being those of dense layers, with the remedy: for messages. Empty where nothing does.
std::string why_not_dense(const Parameters& parameters);

}  // namespace afterimage
