// What the distillation defences share: the number of images, how they are kept inside the pixel range, and the two
// options that keep them from resembling real ones (docs/methods.md, section 7).
#pragma once

#include "attacks/solver/pixel_bounds.h"
#include "attacks/solver/search.h"
#include "defenses/defense.h"
#include "models/tangent/analytic_ntk.h"

namespace afterimage {

// Pixels are clamped to their range after every step; a fixed random share of them is noise that is never learned; and
// images that are nearer to a real one than wanted have the penalty
//   50 mean_j max(0, d^2 - min_t |x_j - x_t|^2)^2 / d^4,  d: the distance wanted,
// in units of the loss's start.
class DistilledBounds final : public PixelBounds {
 public:
  struct Levers {
    double corruption = 0;  // share of pixels
    double distance = 0;    // relative L2, times the mean norm of the real images; 0: any
  };
  // `originals` [N, d] are the real images; `candidates` is the number M of images, of the same dtype. `unit` is the
  // unit of the penalty.
  DistilledBounds(const ImageSpace& space, const Tensor& originals, std::int64_t candidates, const Levers& levers,
                  double unit, Generator& random);

  double add_gradient(const Tensor& candidates, double scale, Tensor& gradient) override;
  void restrain(Tensor& candidates) const override;

 private:
  Tensor originals_, original_norms_;  // [N, d], [N]
  Tensor corrupted_, noise_;           // [M, d], of them undefined where nothing is corrupted
  double least_;                       // d^2
  double unit_;
};

// The settings of all that distil by searching for images, of distillation_options().
struct DistillationSettings {
  std::int64_t per_class, steps;
  double image_rate;
  DistilledBounds::Levers levers;

  // Throws UsageError.
  explicit DistillationSettings(const OptionValues& options);
  // The search for so many images of each class: as many candidates, and a rate for their labels. Throws UsageError
  // unless they are fewer than the images.
  SearchPlan plan(const Undefended& undefended) const;
};
std::vector<OptionSpec> distillation_options();

// Throws UsageError on a recipe whose loss takes probabilities, for data whose labels are learned as any real numbers.
// `fix` is what the message offers beside the squared loss, or empty.
void require_real_targets(const Recipe& recipe, const std::string& defense, const std::string& fix);

// The kernel of the network's own architecture at infinite width where there is one, else, or with `reference`, that of
// the paper's reference: two hidden ReLU layers, NTK parameterization, sigma_w = 1, no biases.
AnalyticNtk distillation_kernel(const Undefended& undefended, bool reference);
OptionSpec kernel_option();
bool is_reference_kernel(const OptionValues& options);  // of kernel_option()

// For each support image [M, d] the nearest real one of [N, d]: its row [M], and the distance relative to its norm [M]
// float64.
struct Nearest {
  Tensor rows, distances;
};
Nearest nearest_of(const Tensor& support, const Tensor& originals);

}  // namespace afterimage
