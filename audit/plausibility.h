// Whether a network looks trained on a training set as the two are described. Arrays in another order, pixels not
// normalised as in training, shuffled labels and swapped weights give an audit of nothing that passes every limit.
#pragma once

#include <string>

#include "attacks/subject.h"
#include "audit/run_directory.h"

namespace afterimage {

// Why not, in words for a report; empty where it does, or where nothing can be told: the weights before training have
// to be known. Of `images` [N, d] as the network sees them and their `targets` [N, C]:
//  - training lowers the loss on them (without a known loss: that which the number of outputs suggests);
//  - where the first layer's change has a row space, they lie in it (docs/methods.md, section 3).
// `model` says what outputs stand for.
std::string implausible(const TrainedNetwork& released, const ModelDescription& model, const Tensor& images,
                        const Tensor& targets);

}  // namespace afterimage
