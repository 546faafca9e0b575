// Reconstruction from the trained parameters alone. A homogeneous network that is trained long on the logistic loss, or
// on cross-entropy, converges in direction to a KKT point of margin maximisation (Lyu & Li 2020):
//   theta = sum_i lambda_i y_i phi(x_i), lambda_i >= 0, phi the gradient of the output at theta itself
// (Haim et al. 2022; several outputs: Buzaglo et al. 2023; docs/methods.md, section 4). The attack looks for images and
// multipliers for which this holds.
//
// Its first layer is W_1 = sum_i lambda_i y_i delta_1(x_i) x_i^T: where training began at small weights, the row space
// of W_1 itself, with nothing taken off, is that of the training images. The search then runs inside it, and linear
// programmes find and confirm images in it (docs/methods.md, section 3).
#pragma once

#include "attacks/attack.h"

namespace afterimage {

class Kkt final : public Attack {
 public:
  std::string name() const override { return "kkt"; }
  std::string description() const override {
    return "reconstructs training images whose gradients add up to the trained parameters themselves";
  }
  std::string needs() const override {
    return "trained parameters, architecture, the mean that was taken off; not the weights before training";
  }
  std::string does_not_apply() const override {
    return "the squared loss; inconclusive where training ended far from a KKT point, as it does before the loss is "
           "very "
           "small or from large initial weights";
  }
  std::vector<OptionSpec> options() const override;
  bool works_without_initial() const override { return true; }
  void validate(const OptionValues& options) const override;
  Estimate estimate(const Subject& subject, std::int64_t images, const OptionValues& options) const override;
  Reconstruction run(const Subject& subject, const HandOver& hand_over, const OptionValues& options, Generator& random,
                     Progress& progress, StateStore& store) const override;
};

}  // namespace afterimage
