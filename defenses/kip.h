// Kernel distillation: KIP and RKIP (docs/methods.md, section 7).
#pragma once

#include "defenses/defense.h"

namespace afterimage {

// Kernel inducing points (Nguyen, Chen & Lee 2021): the support S with labels y_S whose kernel regression predicts the
// training set best,
//   min over S of mean_t |y_t - K_tS (K_SS + ridge)^-1 y_S|^2 / 2.
// It asks which few images make the same predictions on the training images: the element is the targets, the features
// are the kernel's values there (models/tangent/kernel_targets.h).
class Kip final : public Defense {
 public:
  std::string name() const override { return "kip"; }
  std::string description() const override {
    return "trains on a few images distilled so that kernel regression on them predicts the training set (KIP)";
  }
  std::string limits() const override {
    return "costs accuracy; what the distilled images carry of the original ones is measured, not bounded";
  }
  std::vector<OptionSpec> options() const override;
  bool distills() const override { return true; }
  void validate(const OptionValues& options) const override;
  SupportSet distill(const Undefended& undefended, const OptionValues& options, Generator& random, Progress& progress,
                     StateStore& store) const override;
  bool learns_any_labels(const OptionValues& options) const override;
};

// Reconstruction KIP (Loo et al. 2024): the attack's own loss at infinite width with fewer images than were trained on,
//   min over S of |sum_t alpha_t k(x_t, .) - sum_s a_s k(x_s, .)|^2,  alpha = K_TT^-1 y_T,  a = K_SS^-1 y_S.
// By the kernel's largest eigenvalue it bounds KIP's loss.
class Rkip final : public Defense {
 public:
  std::string name() const override { return "rkip"; }
  std::string description() const override {
    return "trains on a few images distilled by the reconstruction loss at infinite width (RKIP)";
  }
  std::string limits() const override {
    return "asks for what an attack asks for: with as many images as were trained on it would return them";
  }
  std::vector<OptionSpec> options() const override;
  bool distills() const override { return true; }
  void validate(const OptionValues& options) const override;
  SupportSet distill(const Undefended& undefended, const OptionValues& options, Generator& random, Progress& progress,
                     StateStore& store) const override;
  bool learns_any_labels(const OptionValues& options) const override;
};

// RKIP at finite width: trains the network on the images, attacks it with fewer images than were trained on, and
// releases a network trained on what that gives, with the labels that the found coefficients mean, K(x, x) a.
class RkipFinite final : public Defense {
 public:
  std::string name() const override { return "rkip-finite"; }
  std::string description() const override {
    return "trains on what an attack with too few images makes of the undefended network (RKIP-finite)";
  }
  std::string limits() const override {
    return "works from the undefended weights, so what they leak may come back in the distilled images";
  }
  std::vector<OptionSpec> options() const override;
  bool distills() const override { return true; }
  void validate(const OptionValues& options) const override;
  SupportSet distill(const Undefended& undefended, const OptionValues& options, Generator& random, Progress& progress,
                     StateStore& store) const override;
  bool learns_any_labels(const OptionValues&) const override { return true; }
};

}  // namespace afterimage
