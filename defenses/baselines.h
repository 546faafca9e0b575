// What users would pick instead of distillation, and the sanity checks that every comparison should hold.
#pragma once

#include "defenses/defense.h"

namespace afterimage {

// Trains as if nothing were done: what all others are compared with.
class NoDefense final : public Defense {
 public:
  std::string name() const override { return "none"; }
  std::string description() const override { return "no defence: trained on the images themselves"; }
  std::string limits() const override { return "protects nothing; every comparison needs it"; }
  std::vector<OptionSpec> options() const override { return {}; }
  Release release(const Undefended& undefended, const OptionValues& options, Generator& random, Progress& progress,
                  StateStore& store) const override;
};

// Training ends at a higher loss.
class EarlyStopping final : public Defense {
 public:
  std::string name() const override { return "early-stopping"; }
  std::string description() const override { return "ends training at a higher loss"; }
  std::string limits() const override {
    return "each step already moves the weights along the images; costs accuracy where the loss still mattered";
  }
  std::vector<OptionSpec> options() const override;
  void validate(const OptionValues& options) const override;
  Release release(const Undefended& undefended, const OptionValues& options, Generator& random, Progress& progress,
                  StateStore& store) const override;
};

// L2 in training.
class WeightDecay final : public Defense {
 public:
  std::string name() const override { return "weight-decay"; }
  std::string description() const override { return "trains with L2 weight decay"; }
  std::string limits() const override { return "shrinks the weights, and leaves what training added to them in place"; }
  std::vector<OptionSpec> options() const override;
  void validate(const OptionValues& options) const override;
  Release release(const Undefended& undefended, const OptionValues& options, Generator& random, Progress& progress,
                  StateStore& store) const override;
};

// Gaussian noise on the weights that are released, in each parameter tensor in proportion to how far training moved it.
class ReleaseNoise final : public Defense {
 public:
  std::string name() const override { return "release-noise"; }
  std::string description() const override { return "adds Gaussian noise to the weights that are released"; }
  std::string limits() const override { return "many parameters average the noise out; no guarantee is claimed"; }
  std::vector<OptionSpec> options() const override;
  void validate(const OptionValues& options) const override;
  Release release(const Undefended& undefended, const OptionValues& options, Generator& random, Progress& progress,
                  StateStore& store) const override;
};

// As many images of each class, drawn by lot, in place of all.
class RandomSubset final : public Defense {
 public:
  std::string name() const override { return "random-subset"; }
  std::string description() const override { return "trains on a few of the images, drawn by lot"; }
  std::string limits() const override { return "what is drawn leaks as before; only the rest is protected"; }
  std::vector<OptionSpec> options() const override;
  bool distills() const override { return true; }
  void validate(const OptionValues& options) const override;
  SupportSet distill(const Undefended& undefended, const OptionValues& options, Generator& random, Progress& progress,
                     StateStore& store) const override;
};

// The images with labels by lot: a network that learned nothing leaks as much.
class RandomLabels final : public Defense {
 public:
  std::string name() const override { return "random-labels"; }
  std::string description() const override { return "trains on the images with labels by lot (a sanity check)"; }
  std::string limits() const override { return "useless and leaks as before: shows that utility and leakage differ"; }
  std::vector<OptionSpec> options() const override { return {}; }
  bool distills() const override { return true; }
  SupportSet distill(const Undefended& undefended, const OptionValues& options, Generator& random, Progress& progress,
                     StateStore& store) const override;
};

// The option of all that distil: images a class.
OptionSpec per_class_option(const std::string& fallback = "10");
std::int64_t per_class(const OptionValues& options);

// The class [n] int64 of each row of targets [n, C]: the sign of one (0 or 1), the largest of several.
Tensor classes_of(const Tensor& targets);
// Targets of `per_class` images of each class in turn, [classes per_class, C] float32: +-1, or one-hot.
Tensor class_targets(const Undefended& undefended, std::int64_t per_class);

}  // namespace afterimage
