// Differentially private training (Abadi et al. 2016, arXiv 1607.00133): each image's gradient is clipped, noise is
// added to their sum, and the images of each step are drawn anew, each by itself.
#pragma once

#include "defenses/defense.h"

namespace afterimage {

// theta <- theta - eta (sum over the drawn images of their clipped gradients + N(0, (sigma clip)^2 I)) / batch, with
// the recipe's momentum and weight decay, which only process what is private already; the recipe's own ends of
// training, which look at the loss, are not used. (epsilon, delta) holds for one image replaced by none, whose gradient
// is zero, so that the batch that is divided by stays (defenses/privacy_accountant.h), against all that the steps show.
//
// Noise, samples and augmented views are drawn from the operating system's entropy, not by the seed
// (defenses/secret_random.h): two runs of one seed differ, and an interrupted run continues with other noise.
// Arithmetic is float32; the guarantee does not cover its rounding. Networks of dense layers only.
//
// Its release() throws UsageError where the network has other layers than dense ones, the recipe is not SGD or divides
// by the loss, the batch is larger than the set, no noise reaches the epsilon that was given, or training diverges.
Defense dp_sgd_defense();

}  // namespace afterimage
