#include "defenses/gvcl.h"

#include <fmt/format.h>

#include "models/foundations/error.h"

namespace afterimage {

GvclSettings gvcl_settings(const OptionValues& options) {
  GvclSettings settings;
  settings.beta = options.number("beta", 0, 1e6);
  settings.lambda = options.number("lambda", 0, 1e9);
  settings.film = options.one_of("film", {"no", "yes"}) == "yes";
  settings.samples = options.whole("samples", 1, 1000);
  settings.steps = options.whole("steps", 1, 100000000);
  settings.learning_rate = options.number("learning-rate", 1e-9, 1e3);
  settings.prior_variance = options.number("prior-variance", 1e-9, 1e9);
  settings.start_log_variance = options.number("start-log-variance", -60, 20);
  settings.means_anew = options.one_of("means", {"kept", "anew"}) == "anew";
  return settings;
}

namespace {

struct GvclDefense {
  GvclSettings settings;
  bool sample;
};

GvclDefense parse(const OptionValues& options) {
  return {gvcl_settings(options), options.one_of("release", {"mean", "sample"}) == "sample"};
}

void check(const GvclDefense&, const Undefended& undefended) {
  require_gvcl_recipe(undefended.recipe);
  require_fit(undefended.recipe.loss, gvcl_network(*undefended.network).outputs(), undefended.targets);
}

Release release_gvcl(const GvclDefense& typed, const Undefended& undefended, Job& job) {
  const Mlp& network = gvcl_network(*undefended.network);
  GvclSettings settings = typed.settings;
  settings.batch = undefended.recipe.batch;
  job.progress.stage("gvcl: learning a distribution of the weights");
  ContinualLearner learner(network, undefended.initial, undefended.recipe.loss, settings);
  learner.learn(undefended.images, undefended.targets, job.random, job.progress);
  const DiagonalGaussian weights = learner.weights(0);
  Release release;
  release.training.trained = gvcl_released(weights, typed.sample, job.random);
  release.training.stopped_by = "steps";
  release.training.steps = settings.steps;
  release.training.curve = learner.curve();
  release.training.final_loss = loss_of(
      undefended.recipe.loss, network.evaluate(release.training.trained, undefended.images), undefended.targets);
  release.recipe = gvcl_recipe(settings, undefended.recipe.loss);
  release.evidence = gvcl_evidence(settings, weights, typed.sample);
  return release;
}

}  // namespace

const Mlp& gvcl_network(const Network& network) {
  if (const auto* mlp = dynamic_cast<const Mlp*>(&network); mlp != nullptr && mlp->layers() > 1) return *mlp;
  throw UsageError(
      fmt::format("--architecture {}: gvcl learns distributions of the weights of dense hidden layers; use "
                  "mlp:WIDTH,WIDTH,...",
                  network.architecture()));
}

void require_gvcl_recipe(const Recipe& recipe) {
  for (const auto& [option, given] : {std::pair{"--freeze", !recipe.frozen.empty()},
                                      {"--over-loss", recipe.over_loss},
                                      {"--augment", recipe.augment > 0},
                                      {"--weight-decay", recipe.weight_decay > 0}}) {
    if (given) throw UsageError(fmt::format("{}: gvcl does not use it; leave it out", option));
  }
}

nlohmann::ordered_json gvcl_evidence(const GvclSettings& settings, const DiagonalGaussian& weights, bool sample) {
  nlohmann::ordered_json evidence = {{"beta", settings.beta},
                                     {"lambda", settings.lambda},
                                     {"film", settings.film},
                                     {"samples", settings.samples},
                                     {"steps", settings.steps},
                                     {"learning_rate", settings.learning_rate},
                                     {"prior_variance", settings.prior_variance},
                                     {"start_log_variance", settings.start_log_variance},
                                     {"means", settings.means_anew ? "anew" : "kept"}};
  nlohmann::ordered_json deviations = nullptr;
  if (!weights.is_certain()) {
    deviations = nlohmann::ordered_json::object();
    for (const auto& [name, variance] : weights.variance.entries()) {
      deviations[name] = variance.mean(at::kDouble).sqrt().item<double>();
    }
  }
  evidence["standard_deviations"] = deviations;
  evidence["release"] = sample && !weights.is_certain() ? "sample" : "mean";
  return evidence;
}

Recipe gvcl_recipe(const GvclSettings& settings, LossKind loss) {
  Recipe recipe;
  recipe.loss = loss;
  recipe.optimizer = Optimizer::adam;
  recipe.learning_rate = settings.learning_rate;
  recipe.momentum = 0;
  recipe.batch = settings.batch;
  recipe.max_steps = settings.steps;
  recipe.until_loss = 0;
  return recipe;
}

Parameters gvcl_released(const DiagonalGaussian& weights, bool sample, Generator& random) {
  return sample && !weights.is_certain() ? weights.draw(random) : weights.mean;
}

Defense gvcl_defense() {
  Defense defense;
  defense.name = "gvcl";
  defense.description =
      "learns a Gaussian of each weight with a tempered divergence from a prior (GVCL), and releases its mean or one "
      "sample; with --tasks one task after another";
  defense.limits =
      "the mean follows the images as other training does; a sample is as noisy as the loss allowed, which is no bound";
  defense.options = {
      {"beta", "tempers the divergence; 1 with lambda 1: VCL; 0: its limit, online EWC", "0.1", "NUMBER"},
      {"lambda", "how strongly later tasks keep to the weights of earlier ones", "1", "NUMBER"},
      {"film", "a scale and a shift of each hidden neuron, of each task's own", "no", "no|yes"},
      {"release", "the mean of the weights or one sample", "mean", "mean|sample"},
      {"samples", "draws a step", "3", "INTEGER"},
      {"steps", "of each task's training, all of which are made", "3000", "INTEGER"},
      {"learning-rate", "of Adam", "1e-3", "NUMBER"},
      {"prior-variance", "of each weight", "1", "NUMBER"},
      {"start-log-variance", "largest logarithm of a variance at the start of each task's training", "-7", "NUMBER"},
      {"means", "of shared weights at the start of a later task: kept, or drawn anew", "kept", "kept|anew"}};
  defense.configure = releasing_by(parse, release_gvcl, check);
  return defense;
}

}  // namespace afterimage
