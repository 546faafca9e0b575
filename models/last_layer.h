// A dense layer at the end of any network, f(x) = W u(x) + b, and what goes into it: the embeddings u.
#pragma once

#include <cstddef>
#include <optional>

#include "models/network.h"

namespace afterimage {

struct LastLayer {
  std::size_t weight = 0;           // which of the parameters: [C, width]
  std::optional<std::size_t> bias;  // [C]; none where there is no bias, or it is of no interest
};

// The layer with its bias as one column more, [C, width (+ 1)] float64.
Tensor with_bias(const Parameters& parameters, const LastLayer& layer);

// What images [n, d] put into that layer, [n, width] float64, or [n, width + 1] with what goes into the bias: the
// gradients of an output by its row of the layer.
Tensor last_layer_features(const Network& network, const Parameters& parameters, const LastLayer& layer,
                           const Tensor& images);

// The last layer where the network ends in one that has something below it: a weight [C, width] whose products with
// its features, and a bias [C], are the outputs, tried on images drawn at random. Null where there is none.
std::optional<LastLayer> last_layer_of(const Network& network, const Parameters& parameters);

}  // namespace afterimage
