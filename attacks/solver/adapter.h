// A merged low-rank adapter (LoRA, 2106.09685): W_f = W_0 + s B A in some layers, with A [r, in] drawn at random.
//
// The rows of such a change span the rows of A, which began at random and moved little: not the training images.
#pragma once

#include <cstdint>
#include <optional>

#include "attacks/subject.h"

namespace afterimage {

struct MergedAdapter {
  std::int64_t rank = 0;    // alike in all layers that changed
  std::int64_t layers = 0;  // how many did
};

// The adapter that the change looks like: at least two weights changed, each by a matrix of the same rank, far below
// its sizes; no bias did, though the network has some; and another weight did not. Gradient descent on few
// images changes every weight, unless some were frozen. Null where it is none, or the start is not known.
std::optional<MergedAdapter> merged_adapter(const TrainedNetwork& released);

// Whether all weights changed by matrices of one rank (or all that their sizes allow) and no bias did: an adapter in
// every layer, or as many training images under frozen biases. The weights alone do not tell which.
bool may_be_adapter(const TrainedNetwork& released);

}  // namespace afterimage
