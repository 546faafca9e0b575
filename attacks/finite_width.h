// Reconstruction from the change of all parameters, h = theta_f - theta_0, as a sum of tangent features of few images
// (Loo et al. 2024, docs/methods.md, section 1): features at any points of the segment between both, in pixels or,
// where there is one, inside the row space of the first layer's change (docs/methods.md, section 3).
#pragma once

#include "attacks/attack.h"

namespace afterimage {

class FiniteWidth final : public Attack {
 public:
  std::string name() const override { return "finite-width"; }
  std::string description() const override {
    return "reconstructs training images whose tangent features add up to the change of all parameters";
  }
  std::string needs() const override {
    return "initial and trained parameters, architecture, the mean that was taken off";
  }
  std::string does_not_apply() const override {
    return "inconclusive where training left the tangent space so far that no images explain the change";
  }
  std::vector<OptionSpec> options() const override;
  void validate(const OptionValues& options) const override;
  Estimate estimate(const Subject& subject, std::int64_t images, const OptionValues& options) const override;
  Reconstruction run(const Subject& subject, const HandOver& hand_over, const OptionValues& options, Generator& random,
                     Progress& progress, StateStore& store) const override;
};

}  // namespace afterimage
