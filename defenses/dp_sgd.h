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
// (defenses/secret_random.h): two runs of one seed differ, and an interrupted run goes on with other noise. What it
// rests on: float32 arithmetic, whose rounding the guarantee does not cover. Networks of dense layers only.
class DpSgd final : public Defense {
 public:
  std::string name() const override { return "dp-sgd"; }
  std::string description() const override {
    return "clips each image's gradient and adds noise: differentially private";
  }
  std::string limits() const override {
    return "covers any one image, not how many there are; not the mean of the training images where that is taken off "
           "(no epsilon then; a public mean is supposed to be chosen without them), nor the choice of options, nor the "
           "loss curve, nor how numbers were rounded; costs accuracy, most where images are few; not repeatable by its "
           "seed, for noise that can be drawn again hides nothing";
  }
  std::vector<OptionSpec> options() const override;
  void validate(const OptionValues& options) const override;
  // Throws UsageError where the network has other layers than dense ones, the recipe is not SGD or divides by the loss,
  // the batch is larger than the set, no noise reaches the epsilon asked for, or training diverges.
  Release release(const Undefended& undefended, const OptionValues& options, Generator& random, Progress& progress,
                  StateStore& store) const override;
};

}  // namespace afterimage
