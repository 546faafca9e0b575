// What other attacks came to, polished and judged by the training that it would have made: gradient flow of the squared
// loss on the candidates, from the initial parameters to where it ends, differentiated through (docs/methods.md,
// section 1). Its mismatch with the trained parameters tells images from mixtures that look like them, which the
// tangent loss cannot.
#pragma once

#include "attacks/attack.h"

namespace afterimage {

class Flow final : public Attack {
 public:
  std::string name() const override { return "flow"; }
  std::string description() const override {
    return "polishes and judges what other attacks came to, by the training that these images would have made";
  }
  std::string needs() const override {
    return "what finite-width does, the squared loss, and candidates from an attack before it";
  }
  std::string does_not_apply() const override {
    return "other losses than the squared one; nothing handed on, or nothing left to find; it is no search of its own";
  }
  std::vector<OptionSpec> options() const override;
  void validate(const OptionValues& options) const override;
  Estimate estimate(const Subject& subject, std::int64_t images, const OptionValues& options) const override;
  Reconstruction run(const Subject& subject, const HandOver& hand_over, const OptionValues& options, Generator& random,
                     Progress& progress, StateStore& store) const override;
};

}  // namespace afterimage
