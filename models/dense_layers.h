// Fully connected layers recognised by the shapes of their tensors, whatever a training script called them.
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

  std::string architecture() const;  // ARCH of the contract: "mlp:WIDTH,..."; that they are ReLU networks is supposed
};

// Nothing where some tensor is neither a weight [out, in] nor the bias [out] beside it ("PREFIX.weight" and
// "PREFIX.bias"), or where the layers form no chain with a hidden layer, in the order of the file or of their names
// (with numbers by value: "layers.2" before "layers.10").
std::optional<DenseLayers> dense_layers(const Parameters& parameters);

}  // namespace afterimage
