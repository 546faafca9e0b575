#include "defenses/distillation.h"

#include <fmt/format.h>

#include <cmath>

#include "defenses/baselines.h"
#include "models/dense_network.h"
#include "models/foundations/error.h"

namespace afterimage {
namespace {

constexpr double distance_weight = 50;

// |a_j - b_t|^2, [M, N].
Tensor squared_distances(const Tensor& a, const Tensor& b, const Tensor& squared_norms_of_b) {
  return (at::mm(a, b.t()).mul_(-2) + a.square().sum(1, /*keepdim=*/true) + squared_norms_of_b).clamp_min_(0);
}

DistilledBounds::Levers levers_of(const OptionValues& options) {
  return {options.number("corruption", 0, 1), options.number("distance", 0, 10)};
}

}  // namespace

DistilledBounds::DistilledBounds(const ImageSpace& space, const Tensor& originals, std::int64_t candidates,
                                 const Levers& levers, double unit, Generator& random)
    : PixelBounds(space.to(originals.scalar_type()), {}, 0),
      originals_(originals),
      original_norms_(originals.square().sum(1)),
      least_(std::pow(levers.distance * original_norms_.sqrt().mean().item<double>(), 2)),
      unit_(unit) {
  if (levers.corruption > 0) {
    const auto shape = std::vector<std::int64_t>{candidates, originals.size(1)};
    corrupted_ = at::rand(shape, random, originals.options()) < levers.corruption;
    noise_ = lower() + (upper() - lower()) * at::rand(shape, random, originals.options());
  }
}

double DistilledBounds::add_gradient(const Tensor& candidates, double scale, Tensor& gradient) {
  if (least_ == 0) return 0;
  const auto [nearest, which] = squared_distances(candidates, originals_, original_norms_).min(1);
  const Tensor missing = (least_ - nearest).clamp_min_(0).div_(least_);
  const double weight = distance_weight * unit_ / static_cast<double>(candidates.size(0));
  // d missing / d x = -2 (x - x_t) / least
  gradient.add_((candidates - originals_.index_select(0, which)) * missing.unsqueeze(1), -4 * weight * scale / least_);
  return weight * missing.square().sum().item<double>();
}

void DistilledBounds::restrain(Tensor& candidates) const {
  at::clamp_out(candidates, candidates, lower(), upper());
  if (corrupted_.defined()) candidates.copy_(at::where(corrupted_, noise_, candidates));
}

std::vector<OptionSpec> distillation_options() {
  return {per_class_option(),
          {"distillation-steps", "steps of the search for images", "3000", "INTEGER"},
          {"image-rate", "Adam's step size on images, in pixel units", "0.01", "NUMBER"},
          {"corruption", "share of pixels of each image that is noise and never learned, in [0, 1]", "0", "NUMBER"},
          {"distance", "least distance to any training image, relative L2; 0: any", "0", "NUMBER"}};
}

DistillationSettings::DistillationSettings(const OptionValues& options)
    : per_class(afterimage::per_class(options)),
      steps(options.whole("distillation-steps", 1, 100000000)),
      image_rate(options.number("image-rate", 1e-9, 10)),
      levers(levers_of(options)) {}

SearchPlan DistillationSettings::plan(const Undefended& undefended) const {
  SearchPlan plan;
  plan.candidates = per_class * undefended.classes();
  plan.steps = steps;
  plan.image_rate = image_rate;
  plan.until_settled = false;
  // A search divides it by the number of candidates, which suits coefficients; labels are of the size of one.
  plan.coefficient_rate = image_rate * static_cast<double>(plan.candidates);
  if (plan.candidates < undefended.images.size(0)) return plan;
  throw UsageError(fmt::format("--per-class {}: makes {} images of {}, which distils nothing; give fewer", per_class,
                               plan.candidates, undefended.images.size(0)));
}

void require_real_targets(const Recipe& recipe, const std::string& defense, const std::string& fix) {
  if (recipe.loss != LossKind::cross_entropy) return;
  throw UsageError(fmt::format(
      "--loss cross-entropy: takes probabilities, and defence \"{}\" learns labels that are any numbers; use squared{}",
      defense, fix));
}

OptionSpec kernel_option() {
  return {"kernel",
          "network (that of the architecture at infinite width) or reference (two hidden ReLU layers, no biases)",
          "network", "network|reference"};
}

bool is_reference_kernel(const OptionValues& options) {
  return options.one_of("kernel", {"network", "reference"}) == "reference";
}

AnalyticNtk distillation_kernel(const Undefended& undefended, bool reference) {
  const DenseNetwork* dense = as_dense(*undefended.network);
  if (dense != nullptr && !reference) return dense->infinite_kernel();
  return AnalyticNtk::uniform(2, 1, 0);
}

Nearest nearest_of(const Tensor& support, const Tensor& originals) {
  const Tensor real = originals.to(at::kDouble), norms = real.square().sum(1);
  const auto [nearest, which] = squared_distances(support.to(at::kDouble), real, norms).min(1);
  return {which, (nearest / norms.index_select(0, which)).sqrt()};
}

}  // namespace afterimage
