#include "defenses/baselines.h"

namespace afterimage {
namespace {

Release trained(const Undefended& undefended, const Recipe& recipe, Generator& random, Progress& progress) {
  Release release;
  release.training =
      train(*undefended.network, undefended.initial, undefended.images, undefended.targets, recipe, random, progress);
  return release;
}

double stop_loss(const OptionValues& options) { return options.number("stop-loss", 1e-12, 1e6); }
double decay(const OptionValues& options) { return options.number("decay", 0, 1e6); }
double noise(const OptionValues& options) { return options.number("noise", 0, 1e6); }

}  // namespace

OptionSpec per_class_option(const std::string& fallback) {
  return {"per-class", "images of each class that are trained on", fallback};
}

std::int64_t per_class(const OptionValues& options) { return options.whole("per-class", 1, 1000000); }

Tensor classes_of(const Tensor& targets) {
  return targets.size(1) == 1 ? (targets.squeeze(1) > 0).to(at::kLong) : targets.argmax(1);
}

Tensor class_targets(const Undefended& undefended, std::int64_t per_class) {
  const std::int64_t classes = undefended.classes();
  const Tensor labels = at::arange(classes, at::kLong).repeat_interleave(per_class);
  if (undefended.targets.size(1) == 1) return (labels * 2 - 1).to(at::kFloat).unsqueeze(1);
  return at::one_hot(labels, classes).to(at::kFloat);
}

Release NoDefense::release(const Undefended& undefended, const OptionValues&, Generator& random, Progress& progress,
                           StateStore&) const {
  return trained(undefended, undefended.recipe, random, progress);
}

std::vector<OptionSpec> EarlyStopping::options() const {
  return {{"stop-loss", "training ends below this loss over all images", "0.05"}};
}
void EarlyStopping::validate(const OptionValues& options) const { static_cast<void>(stop_loss(options)); }
Release EarlyStopping::release(const Undefended& undefended, const OptionValues& options, Generator& random,
                               Progress& progress, StateStore&) const {
  Recipe recipe = undefended.recipe;
  recipe.until_loss = stop_loss(options);
  return trained(undefended, recipe, random, progress);
}

std::vector<OptionSpec> WeightDecay::options() const { return {{"decay", "L2, added to the gradient", "1e-3"}}; }
void WeightDecay::validate(const OptionValues& options) const { static_cast<void>(decay(options)); }
Release WeightDecay::release(const Undefended& undefended, const OptionValues& options, Generator& random,
                             Progress& progress, StateStore&) const {
  Recipe recipe = undefended.recipe;
  recipe.weight_decay = decay(options);
  // The loss does not fall to nothing then: training ends where it no longer falls.
  constexpr std::int64_t patience = 500;
  if (recipe.patience == 0 && recipe.weight_decay > 0) recipe.patience = patience;
  return trained(undefended, recipe, random, progress);
}

std::vector<OptionSpec> ReleaseNoise::options() const {
  return {{"noise", "standard deviation, times the root mean square change of the parameter tensor in training", "1"}};
}
void ReleaseNoise::validate(const OptionValues& options) const { static_cast<void>(noise(options)); }
Release ReleaseNoise::release(const Undefended& undefended, const OptionValues& options, Generator& random,
                              Progress& progress, StateStore&) const {
  const double ratio = noise(options);
  Release release = trained(undefended, undefended.recipe, random, progress);
  Parameters& weights = release.training.trained;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double moved = (weights[i] - undefended.initial[i]).square().mean().sqrt().item<double>();
    weights[i].add_(at::randn(weights[i].sizes(), random, weights[i].options()), ratio * moved);
  }
  return release;
}

std::vector<OptionSpec> RandomSubset::options() const { return {per_class_option()}; }
void RandomSubset::validate(const OptionValues& options) const { static_cast<void>(per_class(options)); }
SupportSet RandomSubset::distill(const Undefended& undefended, const OptionValues& options, Generator& random,
                                 Progress&, StateStore&) const {
  const Tensor classes = classes_of(undefended.targets);
  std::vector<Tensor> rows;
  for (std::int64_t label = 0; label < undefended.classes(); ++label) {
    const Tensor own = at::nonzero(classes == label).squeeze(1);
    const Tensor order = at::randperm(own.numel(), random, at::kLong);
    rows.push_back(own.index_select(0, order.narrow(0, 0, std::min(per_class(options), own.numel()))));
  }
  const Tensor chosen = at::cat(rows);
  return {undefended.images.index_select(0, chosen), undefended.targets.index_select(0, chosen)};
}

SupportSet RandomLabels::distill(const Undefended& undefended, const OptionValues&, Generator& random, Progress&,
                                 StateStore&) const {
  const Tensor order = at::randperm(undefended.targets.size(0), random, at::kLong);
  return {undefended.images, undefended.targets.index_select(0, order)};
}

}  // namespace afterimage
