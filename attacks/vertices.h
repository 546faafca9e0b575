// Exact images from the first layer's change and the pixel range alone: linear programmes over the polytope of images
// in the row span whose pixels are in range land on training images that have many pixels at a bound (docs/methods.md,
// section 3). No kernel, no width limit, no loss.
#pragma once

#include "attacks/attack.h"

namespace afterimage {

class Vertices final : public Attack {
 public:
  std::string name() const override { return "vertices"; }
  std::string description() const override {
    return "exact training images where the row space of the first layer's change meets the pixel range";
  }
  std::string needs() const override {
    return "initial and trained first-layer weights, the mean that was taken off, the pixel range";
  }
  std::string does_not_apply() const override {
    return "wherever span does not; images with few pixels at black or white";
  }
  std::vector<OptionSpec> options() const override;
  void validate(const OptionValues& options) const override;
  Estimate estimate(const Subject& subject, std::int64_t images, const OptionValues& options) const override;
  Reconstruction run(const Subject& subject, const HandOver& hand_over, const OptionValues& options, Generator& random,
                     Progress& progress, StateStore& store) const override;
};

}  // namespace afterimage
