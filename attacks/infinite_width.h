// Reconstruction at infinite width: which images make the learned function, sum_i alpha_i k(x_i, .) with the analytic
// kernel k (Loo et al. 2023, Theorem 1; docs/methods.md, section 2). The search asks only for outputs, before and after
// training, and for their slopes by the image. Whether a network of finite width is close enough to an infinite one is
// decided first, from its weights: those before training give its tangent kernel, and both say how far it left its
// tangent space.
#pragma once

#include "attacks/attack.h"

namespace afterimage {

class InfiniteWidth final : public Attack {
 public:
  std::string name() const override { return "infinite-width"; }
  std::string description() const override {
    return "training images whose analytic kernel functions add up to what training changed of the outputs";
  }
  std::string needs() const override {
    return "the network's answers to any image, before and after training; its architecture; the pixel range; of a "
           "finite network initial and trained weights as well, to tell whether it is wide enough";
  }
  std::string does_not_apply() const override { return "networks without a closed-form infinite-width kernel"; }
  bool works_without_weights() const override { return true; }
  std::vector<OptionSpec> options() const override;
  void validate(const OptionValues& options) const override;
  Estimate estimate(const Subject& subject, std::int64_t images, const OptionValues& options) const override;
  Reconstruction run(const Subject& subject, const HandOver& hand_over, const OptionValues& options, Generator& random,
                     Progress& progress, StateStore& store) const override;
};

}  // namespace afterimage
