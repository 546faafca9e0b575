#include "defenses/baselines.h"

namespace afterimage {

OptionSpec per_class_option(const std::string& fallback) {
  return {"per-class", "images of each class that are trained on", fallback, "INTEGER"};
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

namespace {

struct NoSettings {};
NoSettings parse_nothing(const OptionValues&) { return {}; }

Release trained(const Undefended& undefended, const Recipe& recipe, Job& job) {
  Release release;
  release.training = train(*undefended.network, undefended.initial, undefended.images, undefended.targets, recipe,
                           job.random, job.progress);
  release.recipe = recipe;
  return release;
}

Release as_it_is(const NoSettings&, const Undefended& undefended, Job& job) {
  return trained(undefended, undefended.recipe, job);
}

double stop_loss(const OptionValues& options) { return options.number("stop-loss", 1e-12, 1e6); }

Release stopped_early(const double& loss, const Undefended& undefended, Job& job) {
  Recipe recipe = undefended.recipe;
  recipe.until_loss = loss;
  return trained(undefended, recipe, job);
}

double decay(const OptionValues& options) { return options.number("decay", 0, 1e6); }

Release decayed(const double& decay, const Undefended& undefended, Job& job) {
  Recipe recipe = undefended.recipe;
  recipe.weight_decay = decay;
  // The loss does not fall to zero then: training ends where it no longer falls.
  constexpr std::int64_t patience = 500;
  if (recipe.patience == 0 && recipe.weight_decay > 0) recipe.patience = patience;
  return trained(undefended, recipe, job);
}

double noise(const OptionValues& options) { return options.number("noise", 0, 1e6); }

Release with_noise(const double& ratio, const Undefended& undefended, Job& job) {
  Release release = trained(undefended, undefended.recipe, job);
  Parameters& weights = release.training.trained;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double moved = (weights[i] - undefended.initial[i]).square().mean().sqrt().item<double>();
    weights[i].add_(at::randn(weights[i].sizes(), job.random, weights[i].options()), ratio * moved);
  }
  return release;
}

SupportSet random_subset(const std::int64_t& most, const Undefended& undefended, Job& job) {
  const Tensor classes = classes_of(undefended.targets);
  std::vector<Tensor> rows;
  for (std::int64_t label = 0; label < undefended.classes(); ++label) {
    const Tensor own = at::nonzero(classes == label).squeeze(1);
    const Tensor order = at::randperm(own.numel(), job.random, at::kLong);
    rows.push_back(own.index_select(0, order.narrow(0, 0, std::min(most, own.numel()))));
  }
  const Tensor chosen = at::cat(rows);
  return {undefended.images.index_select(0, chosen), undefended.targets.index_select(0, chosen)};
}

SupportSet random_labels(const NoSettings&, const Undefended& undefended, Job& job) {
  const Tensor order = at::randperm(undefended.targets.size(0), job.random, at::kLong);
  return {undefended.images, undefended.targets.index_select(0, order)};
}

}  // namespace

Defense no_defense() {
  Defense defense;
  defense.name = "none";
  defense.description = "no defence: trained on the images themselves";
  defense.limits = "protects nothing; every comparison needs it";
  defense.configure = releasing_by(parse_nothing, as_it_is);
  return defense;
}

Defense early_stopping_defense() {
  Defense defense;
  defense.name = "early-stopping";
  defense.description = "ends training at a higher loss";
  defense.limits = "each step already moves the weights along the images; costs accuracy where the loss still mattered";
  defense.options = {{"stop-loss", "training ends below this loss over all images", "0.05", "NUMBER"}};
  defense.configure = releasing_by(stop_loss, stopped_early);
  return defense;
}

Defense weight_decay_defense() {
  Defense defense;
  defense.name = "weight-decay";
  defense.description = "trains with L2 weight decay";
  defense.limits = "shrinks the weights, and leaves what training added to them in place";
  defense.options = {{"decay", "L2, added to the gradient", "1e-3", "NUMBER"}};
  defense.configure = releasing_by(decay, decayed);
  return defense;
}

Defense release_noise_defense() {
  Defense defense;
  defense.name = "release-noise";
  defense.description = "adds Gaussian noise to the weights that are released";
  defense.limits = "many parameters average the noise out; no guarantee is claimed";
  defense.options = {{"noise",
                      "standard deviation, times the root mean square change of the parameter tensor in training", "1",
                      "NUMBER"}};
  defense.configure = releasing_by(noise, with_noise);
  return defense;
}

Defense random_subset_defense() {
  Defense defense;
  defense.name = "random-subset";
  defense.description = "trains on a few of the images, drawn at random";
  defense.limits = "the images that are drawn leak as before; only the rest is protected";
  defense.options = {per_class_option()};
  defense.distills = true;
  defense.configure = distilling_by(per_class, random_subset);
  return defense;
}

Defense random_labels_defense() {
  Defense defense;
  defense.name = "random-labels";
  defense.description = "trains on the images with labels at random (a sanity check)";
  defense.limits = "useless and leaks as before: shows that utility and leakage differ";
  defense.distills = true;
  defense.configure = distilling_by(parse_nothing, random_labels);
  return defense;
}

}  // namespace afterimage
