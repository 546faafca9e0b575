#include "defenses/dp_sgd.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "defenses/privacy_accountant.h"
#include "defenses/secret_random.h"
#include "models/augmentation.h"
#include "models/dense_network.h"
#include "models/foundations/error.h"

namespace afterimage {
namespace {

struct Plan {
  double clip, noise_multiplier, epsilon, delta, learning_rate;
  std::int64_t batch, steps;
};

// As typed: 0 stands for what is to be found.
Plan plan_from(const OptionValues& options) {
  Plan plan{};
  plan.clip = options.number("clip", 1e-9, 1e9);
  plan.noise_multiplier = options.number("noise-multiplier", 0, 1e6);
  plan.epsilon = options.number("epsilon", 0, 1e6);
  plan.delta = options.number("delta", 0, 0.5);
  plan.batch = options.whole("batch", 0, 1000000000);
  plan.steps = options.whole("steps", 1, 1000000000);
  plan.learning_rate = options.number("learning-rate", 0, 1e6);
  return plan;
}

void require_private(const Recipe& recipe) {
  if (recipe.optimizer != Optimizer::sgd) throw UsageError("dp-sgd: --optimizer adam does not apply; use sgd");
  if (recipe.over_loss) {
    throw UsageError("dp-sgd: gradients over the loss do not apply, for the loss is not private; train without");
  }
}

Plan completed(Plan plan, const Undefended& undefended) {
  const Recipe& recipe = undefended.recipe;
  const std::int64_t images = undefended.images.size(0);
  if (plan.batch == 0) plan.batch = recipe.batch == 0 ? images : std::min(recipe.batch, images);
  if (plan.batch > images) {
    throw UsageError(fmt::format("--batch {}: there are {} images; use {} at most", plan.batch, images, images));
  }
  if (plan.delta == 0) plan.delta = 0.1 / static_cast<double>(images);
  if (plan.learning_rate == 0) plan.learning_rate = recipe.learning_rate;
  if (plan.noise_multiplier == 0 && plan.epsilon > 0) {
    const double rate = static_cast<double>(plan.batch) / static_cast<double>(images);
    plan.noise_multiplier = noise_multiplier_for(plan.epsilon, plan.delta, rate, plan.steps);
  }
  return plan;
}

nlohmann::ordered_json evidence_of(const Plan& plan, double sampling_rate, bool mean_of_images) {
  nlohmann::ordered_json evidence;
  const PrivacySpent spent = privacy_spent({{plan.noise_multiplier, sampling_rate, plan.steps}}, plan.delta);
  evidence["epsilon"] = nullptr;
  if (!std::isfinite(spent.epsilon)) {
    evidence["reason"] = "no noise was added: there is no guarantee";
  } else {
    if (mean_of_images) {
      evidence["reason"] =
          "the mean that was subtracted is of the training images or came with the data, so that one image moves all "
          "inputs: there is no guarantee; give --mean public, --mean none or --normalize";
    }
    evidence[mean_of_images ? "epsilon_of_steps" : "epsilon"] = spent.epsilon;
    evidence["renyi_order"] = spent.order;
  }
  evidence["delta"] = plan.delta;
  evidence["noise_multiplier"] = plan.noise_multiplier;
  evidence["clip"] = plan.clip;
  evidence["sampling_rate"] = sampling_rate;
  evidence["steps"] = plan.steps;
  evidence["adjacency"] = "one image replaced by none; how many there are is public";
  evidence["accountant"] =
      "RDP of the Poisson-subsampled Gaussian (arXiv 1908.10530), converted as in arXiv 2004.00010";
  return evidence;
}

// The loss over all images, computed some hundred times at most, and the check that training did not diverge.
class Watch {
 public:
  Watch(const Undefended& undefended, const Plan& plan)
      : undefended_(undefended), learning_rate_(plan.learning_rate), stride_((plan.steps + 99) / 100) {}

  bool due(std::int64_t step) const { return step % stride_ == 0; }
  double latest() const { return losses_.back(); }
  void look(std::int64_t step, const Parameters& parameters) {
    const Tensor outputs = undefended_.network->evaluate(parameters, undefended_.images);
    losses_.push_back(loss_of(undefended_.recipe.loss, outputs, undefended_.targets));
    if (std::isfinite(latest()) && latest() <= 1e4 * std::max(losses_.front(), 1.0)) return;
    throw UsageError(fmt::format("--learning-rate {}: {} by step {} (loss {:.3g}); use a smaller one", learning_rate_,
                                 training_diverged, step, latest()));
  }
  const std::vector<double>& losses() const { return losses_; }
  void restore(std::vector<double> losses) { losses_ = std::move(losses); }
  std::vector<std::pair<std::int64_t, double>> curve(std::int64_t end) const {
    std::vector<std::pair<std::int64_t, double>> points;
    for (const double loss : losses_) {
      points.emplace_back(std::min(static_cast<std::int64_t>(points.size()) * stride_, end), loss);
    }
    return points;
  }

 private:
  const Undefended& undefended_;
  double learning_rate_;
  std::int64_t stride_;
  std::vector<double> losses_;
};

State state_of(const Parameters& parameters) {
  State state;
  for (const auto& [name, tensor] : parameters.entries()) state.set(name, tensor);
  return state;
}

void restore(const Parameters& parameters, const State& state) {
  for (const auto& [name, tensor] : parameters.entries()) tensor.copy_(state.tensor(name));
}

void check(const Plan& typed, const Undefended& undefended) {
  if (as_dense(*undefended.network) == nullptr) {
    throw UsageError(
        fmt::format("{}: gradients are clipped image by image in dense networks only; use mlp:WIDTH,WIDTH,...",
                    undefended.network->architecture()));
  }
  require_private(undefended.recipe);
  require_fit(undefended.recipe.loss, undefended.network->outputs());
  static_cast<void>(completed(typed, undefended));
}

Release train_privately(const Plan& typed, const Undefended& undefended, Job& job) {
  const DenseNetwork* network = as_dense(*undefended.network);
  const Recipe& recipe = undefended.recipe;
  const std::vector<bool> trained = trainable(undefended.initial, recipe.frozen);
  const Plan plan = completed(typed, undefended);
  const std::int64_t images = undefended.images.size(0);
  const double batch = static_cast<double>(plan.batch), noise = plan.noise_multiplier * plan.clip;
  const bool whole = plan.batch == images;
  SecretRandom secret;

  Release release;
  Parameters& weights = release.training.trained;
  weights = undefended.initial.clone();
  const Parameters velocity = zeros_like(weights), draws = zeros_like(weights);
  Watch watch(undefended, plan);
  std::int64_t step = 0;
  if (const State kept = job.state.take(); !kept.empty()) {
    step = kept.whole("step");
    restore(weights, kept.part("weights"));
    restore(velocity, kept.part("velocity"));
    watch.restore(kept.numbers("losses"));
  }
  for (; step < plan.steps; ++step) {
    if (job.state.due()) {
      job.state.keep(State()
                         .set("step", step)
                         .set("weights", state_of(weights))
                         .set("velocity", state_of(velocity))
                         .set("losses", watch.losses()));
    }
    if (watch.due(step)) watch.look(step, weights);
    job.progress.step(step, plan.steps, fmt::format("loss {:.3g}", watch.latest()));

    const Tensor drawn = whole ? Tensor() : poisson_sample(images, batch / static_cast<double>(images), secret);
    Tensor seen = whole ? undefended.images : undefended.images.index_select(0, drawn);
    // One view of each drawn image: still one gradient for each image, clipped as one. Views are not drawn by the seed:
    // one image more would change those of all images after it.
    if (recipe.augment > 0) {
      Generator views = seeded(secret());
      seen = augmented(seen, recipe.picture_shape, recipe.augment, views);
    }
    const Tensor wanted = whole ? undefended.targets : undefended.targets.index_select(0, drawn);
    const Parameters gradient = network->clipped_pullback(
        weights, seen, [&](const Tensor& outputs) { return cotangents(recipe.loss, outputs, wanted); }, plan.clip,
        trained);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      if (!trained[i]) continue;
      velocity[i].mul_(recipe.momentum).add_(gradient[i], 1 / batch);
      if (noise > 0) {
        fill_normal(draws[i], noise, secret);
        velocity[i].add_(draws[i], 1 / batch);
      }
      if (recipe.weight_decay > 0) velocity[i].add_(weights[i], recipe.weight_decay);
      weights[i].sub_(velocity[i], plan.learning_rate);
    }
  }
  watch.look(plan.steps, weights);
  Recipe followed = recipe;
  followed.learning_rate = plan.learning_rate;
  followed.batch = plan.batch;
  followed.max_steps = plan.steps;
  followed.until_loss = 0;
  followed.patience = 0;
  release.recipe = followed;
  release.training.stopped_by = "steps";
  release.training.steps = plan.steps;
  release.training.final_loss = watch.latest();
  release.training.curve = watch.curve(plan.steps);
  release.evidence = evidence_of(plan, batch / static_cast<double>(images), undefended.mean_of_images);
  return release;
}

}  // namespace

Defense dp_sgd_defense() {
  Defense defense;
  defense.name = "dp-sgd";
  defense.description = "clips each image's gradient and adds noise: differentially private";
  defense.limits =
      "covers any one image, not how many there are; not the mean of the training images where that is subtracted (no "
      "epsilon then; a public mean is supposed to be chosen without them), nor the choice of options, nor the loss "
      "curve, nor rounding; costs accuracy, most where images are few; not repeatable by its seed, for noise that can "
      "be drawn again hides nothing";
  defense.options = {
      {"clip", "largest norm of one image's gradient", "1", "NUMBER"},
      {"noise-multiplier", "standard deviation of the noise, times --clip; 0: what --epsilon needs", "0", "NUMBER"},
      {"epsilon", "the privacy that is wanted where no --noise-multiplier is given; 0: no noise, no guarantee", "8",
       "NUMBER"},
      {"delta", "of the guarantee; 0: a tenth of 1 / images", "0", "NUMBER"},
      {"batch", "images a step on average, each drawn by itself; 0: the recipe's", "0", "INTEGER"},
      {"steps", "of training, all of which are made", "500", "INTEGER"},
      {"learning-rate", "0: the recipe's", "0", "NUMBER"}};
  defense.configure = releasing_by(plan_from, train_privately, check);
  return defense;
}

}  // namespace afterimage
