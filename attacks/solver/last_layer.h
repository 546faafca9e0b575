// What the change of the last layer shows of the training images where it alone was trained: fine-tuning of a head, or
// linear probing.
//
// Nothing below that layer changed, so that the network is linear in what did: f = W u(x) + b, with features u that
// follow from the network. Every step of gradient descent moves W by sums of r u(x)^T, with r the
// derivative of the loss by the image's outputs. Hence, exactly and for any body (convolutions included):
// - The change W - W_0 (with b's as one column more) has its rows in the span of the training images' features. Where
//   there are fewer images than outputs, it has their rank: it counts those whose features are independent, and its
//   row space is that span, in which the features of other images do not lie.
// - With as many images as outputs or more, the row space holds one combination of features for each output, and no
//   image's own. But a layer that is wider than there are images fits the squared loss to the end, and then the
//   outputs at a training image are its targets.
#pragma once

#include <optional>

#include "attacks/solver/row_span.h"
#include "models/last_layer.h"

namespace afterimage {

// Which layer of a dense network is the first that training moved, from 0; 0 as well for other networks.
std::size_t first_trained_layer(const TrainedNetwork& released);
// The row space of that layer's change, [rank, what goes into it], of a dense network.
SpanSearch find_layer_span(const TrainedNetwork& released, std::size_t layer);

// The last layer, where it is all that training moved: one weight with a row for each output, perhaps their biases, in
// which the outputs are linear. Null otherwise, and where the start is not known.
std::optional<LastLayer> trained_last_layer(const TrainedNetwork& released);

// The row space of the layer's change, its basis [rank, width (+ 1)]; without a span where its rank does not
// distinguish the images from the outputs.
SpanSearch find_feature_span(const TrainedNetwork& released, const LastLayer& layer);

// [n] float64: the distance of the outputs at images [n, d] from the nearest targets of the squared loss, which they
// would be at training images; the largest over the outputs.
Tensor distance_to_targets(const TrainedNetwork& released, const Tensor& images);

}  // namespace afterimage
