// Distillation by convexified implicit gradients (RCIG: Loo et al., ICML 2023, arXiv 2302.06755): images S such that a
// network trained on them is right on the training images.
//
// Each step takes a network from a pool, trains its linearization on S with the dense layer solved for, and moves S
// along the derivative of the outer loss on a batch of training images by S: the direct part, and the implicit one cut
// to the direct one's size (ConvexifiedTraining). The network is then trained on S for a few steps.
#pragma once

#include "defenses/defense.h"

namespace afterimage {

// Its distill() ends early where time is up. Where the recipe's loss is cross-entropy, learned targets are made
// probabilities. It throws UsageError on images that are not [h, w] or [h, w, c].
Defense rcig_defense();

}  // namespace afterimage
