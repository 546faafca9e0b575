// Distillation by convexified implicit gradients (RCIG: Loo et al., ICML 2023, arXiv 2302.06755): images S such that a
// network trained on them is right on the training images.
//
// Each step takes a network from a pool, trains its linearization on S with the dense layer solved for, and moves S
// along the derivative of the outer loss on a batch of training images by S: the direct part, and the implicit one cut
// to the direct one's size (ConvexifiedTraining). The network is then trained on S for a few steps.
#pragma once

#include "defenses/defense.h"

namespace afterimage {

class Rcig final : public Defense {
 public:
  std::string name() const override { return "rcig"; }
  std::string description() const override {
    return "trains on images distilled through implicit gradients of a convexified convolutional network (pictures "
           "only)";
  }
  std::string limits() const override {
    return "each image mixes many training images, with no guarantee; distilled for convolutional networks and squared "
           "loss, and others learn less from them";
  }
  std::vector<OptionSpec> options() const override;
  bool distills() const override { return true; }
  void validate(const OptionValues& options) const override;
  // Ends early where time is up. Where the recipe's loss is cross-entropy, learned targets are made probabilities.
  // Throws UsageError on images that are not [h, w] or [h, w, c].
  SupportSet distill(const Undefended& undefended, const OptionValues& options, Generator& random, Progress& progress,
                     StateStore& store) const override;
};

}  // namespace afterimage
