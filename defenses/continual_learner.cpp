#include "defenses/continual_learner.h"

#include <fmt/format.h>
#include <torch/optim.h>

#include <algorithm>
#include <cmath>

#include "models/batches.h"
#include "models/foundations/error.h"

namespace afterimage {
namespace {

constexpr std::size_t head_entries = 2;  // the last layer's weight and bias

std::vector<Parameters::Entry> joined(const Parameters& shared, const Parameters& head) {
  std::vector<Parameters::Entry> entries = shared.entries();
  entries.insert(entries.end(), head.entries().begin(), head.entries().end());
  return entries;
}

// The hidden layers' part, or the head's.
Parameters hidden_part(const Parameters& all) {
  return Parameters({all.entries().begin(), all.entries().end() - head_entries});
}
Parameters head_part(const Parameters& all) {
  return Parameters({all.entries().end() - head_entries, all.entries().end()});
}

DiagonalGaussian cloned(const DiagonalGaussian& weights) { return {weights.mean.clone(), weights.variance.clone()}; }

void set(State& state, const std::string& name, const Parameters& parameters) {
  State part;
  for (std::size_t i = 0; i < parameters.size(); ++i) part.set(std::to_string(i), parameters[i]);
  state.set(name, part);
}

// As set() kept them, with the names of `like`; without entries where none were kept.
Parameters kept(const State& state, const std::string& name, const Parameters& like) {
  const State part = state.part(name);
  if (part.empty()) return {};
  return like.each([&](std::size_t i, const Tensor&) { return part.tensor(std::to_string(i)); });
}

// What training of one task moves, and its steps.
class TaskTraining {
 public:
  // `before`: the belief that the task starts with, of all weights; its variance has no entries where beta is 0, and
  // `curvature` has those of the hidden layers then.
  TaskTraining(const Mlp& network, LossKind loss, const GvclSettings& settings, const DiagonalGaussian& before,
               const Parameters& curvature, Parameters start)
      : network_(network),
        loss_(loss),
        settings_(settings),
        before_(before),
        curvature_(curvature),
        mean_(std::move(start)) {
    if (settings.film) film_ = Film::identity(network);
    if (sampled()) {
      log_variance_ = before.variance.each(
          [&](std::size_t, const Tensor& variance) { return variance.log().clamp_max_(settings.start_log_variance); });
      for (std::size_t i = 0; i < mean_.size(); ++i) {
        divergence_.emplace_back(before.mean[i], before.variance[i], settings.lambda, settings.prior_variance);
      }
    }
    for (const auto* parameters : {&mean_, &log_variance_}) {
      for (const auto& [name, tensor] : parameters->entries()) tensors_.push_back(tensor);
    }
    tensors_.insert(tensors_.end(), film_.scale.begin(), film_.scale.end());
    tensors_.insert(tensors_.end(), film_.shift.begin(), film_.shift.end());
    optimizer_ = std::make_unique<torch::optim::Adam>(tensors_, torch::optim::AdamOptions(settings.learning_rate));
  }

  bool sampled() const { return settings_.beta > 0; }
  DiagonalGaussian weights() const {
    return {mean_, log_variance_.each([](std::size_t, const Tensor& logarithm) { return logarithm.exp(); })};
  }
  const Film& film() const { return film_; }
  double loss_at_means(const Tensor& images, const Tensor& targets) const {
    return loss_of(loss_, network_.evaluate(film_.folded(mean_), images), targets);
  }

  // One step on a batch of a task of `all` images.
  void step(const Tensor& images, const Tensor& targets, std::int64_t all, Generator& random) {
    const DiagonalGaussian now = weights(), folded = film_.folded(now);
    SampledGradient by_folded;
    if (sampled()) {
      const auto noise = draw_noise(network_, settings_.samples, images.size(0), random);
      const Tensor wanted = targets.repeat({settings_.samples, 1});
      by_folded = sampled_pullback(network_, folded, images, noise, [&](const Tensor& outputs) {
        return cotangents(loss_, outputs, wanted).div_(static_cast<double>(outputs.size(0)));
      });
    } else {
      by_folded.by_mean = network_.pullback(folded.mean, images, [&](const Tensor& outputs) {
        return cotangents(loss_, outputs, targets).div_(static_cast<double>(outputs.size(0)));
      });
    }
    const FilmGradient gradient = through(film_, now, by_folded.by_mean, by_folded.by_variance);
    const double share = 1 / static_cast<double>(all);
    std::size_t at_tensor = 0;
    const auto give = [&](const Tensor& slope) { tensors_[at_tensor++].mutable_grad() = slope; };
    if (sampled()) {
      const double tempered = settings_.beta * share;
      for (std::size_t i = 0; i < mean_.size(); ++i) {
        Tensor slope = gradient.by_mean[i];
        divergence_[i].add_by_mean(slope, mean_[i], tempered);
        give(slope);
      }
      for (std::size_t i = 0; i < mean_.size(); ++i) {
        Tensor slope = gradient.by_variance[i].mul_(now.variance[i]);
        divergence_[i].add_by_log_variance(slope, now.variance[i], tempered);
        give(slope);
      }
    } else {
      for (std::size_t i = 0; i < mean_.size(); ++i) {
        Tensor slope = gradient.by_mean[i];
        if (i < curvature_.size()) {
          slope = at::addcmul(slope, curvature_[i], mean_[i] - before_.mean[i], settings_.lambda * share);
        }
        give(slope);
      }
    }
    for (const auto& slope : gradient.by_film.scale) give(slope);
    for (const auto& slope : gradient.by_film.shift) give(slope);
    optimizer_->step();
  }

 private:
  const Mlp& network_;
  LossKind loss_;
  const GvclSettings& settings_;
  const DiagonalGaussian& before_;
  const Parameters& curvature_;
  Parameters mean_, log_variance_;
  std::vector<TemperedDivergence> divergence_;  // of each tensor, where beta is above 0
  Film film_;
  std::vector<Tensor> tensors_;  // all of these: means, logarithms of variances, scales, shifts
  std::unique_ptr<torch::optim::Adam> optimizer_;
};

}  // namespace

ContinualLearner::ContinualLearner(const Mlp& network, Parameters initial, LossKind loss, const GvclSettings& settings)
    : network_(network), loss_(loss), settings_(settings), initial_(std::move(initial)) {
  shared_.mean = zeros_like(hidden_part(initial_));
  if (settings.beta > 0) {
    shared_.variance = shared_.mean.each(
        [&](std::size_t, const Tensor& weight) { return at::full_like(weight, settings.prior_variance); });
  }
}

DiagonalGaussian ContinualLearner::assembled(const DiagonalGaussian& shared, const Own& own) const {
  return {Parameters(joined(shared.mean, own.head.mean)), Parameters(joined(shared.variance, own.head.variance))};
}

DiagonalGaussian ContinualLearner::weights(std::int64_t task) const {
  const Own& own = own_[static_cast<std::size_t>(task)];
  return own.film.folded(assembled(shared_, own));
}

void ContinualLearner::learn(const Tensor& images, const Tensor& targets, Generator& random, Progress& progress) {
  const bool first = own_.empty();
  // What the means start from; a later task's head is drawn.
  Parameters start = initial_.clone();
  if (!first) {
    const Parameters drawn = network_.draw_initial(random).value().to(initial_.dtype());
    start = Parameters(joined(settings_.means_anew ? hidden_part(drawn) : shared_.mean.clone(), head_part(drawn)));
  }
  Own own;
  own.before = start.clone();
  DiagonalGaussian before;
  const Parameters head = head_part(start);
  before.mean = Parameters(joined(shared_.mean, zeros_like(head)));
  if (settings_.beta > 0) {
    before.variance = Parameters(joined(shared_.variance, head.each([&](std::size_t, const Tensor& some) {
      return at::full_like(some, settings_.prior_variance);
    })));
  }
  TaskTraining training(network_, loss_, settings_, before, curvature_, start);
  const std::int64_t all = images.size(0), stride = (settings_.steps + 99) / 100;
  Batches batches(all, settings_.batch, random);
  curve_.clear();
  const auto look = [&](std::int64_t step) {
    const double loss = training.loss_at_means(images, targets);
    curve_.emplace_back(step, loss);
    if (std::isfinite(loss) && loss <= 1e4 * std::max(curve_.front().second, 1.0)) return;
    throw UsageError(fmt::format("--defense-option learning-rate={}: {} by step {} (loss {:.3g}); use a smaller one",
                                 settings_.learning_rate, training_diverged, step, loss));
  };
  for (std::int64_t step = 0; step < settings_.steps; ++step) {
    if (step % stride == 0) look(step);
    progress.step(step, settings_.steps, fmt::format("loss {:.3g}", curve_.back().second));
    if (batches.whole()) {
      training.step(images, targets, all, random);
    } else {
      const Tensor seen = batches.next();
      training.step(images.index_select(0, seen), targets.index_select(0, seen), all, random);
    }
  }
  look(settings_.steps);
  const DiagonalGaussian learned = cloned(training.weights());
  own.film = training.film();
  own.head = {head_part(learned.mean), learned.is_certain() ? Parameters() : head_part(learned.variance)};
  shared_ = {hidden_part(learned.mean), learned.is_certain() ? Parameters() : hidden_part(learned.variance)};
  if (settings_.beta == 0) {
    const Parameters added = hidden_part(
        before_film(own.film, gauss_newton_diagonal(network_, own.film.folded(learned.mean), images, loss_)));
    curvature_ = first ? added : curvature_.plus(added);
  }
  own_.push_back(std::move(own));
}

State ContinualLearner::state() const {
  State state;
  state.set("tasks", tasks());
  set(state, "mean", shared_.mean);
  set(state, "variance", shared_.variance);
  set(state, "curvature", curvature_);
  for (std::size_t t = 0; t < own_.size(); ++t) {
    State part;
    set(part, "head.mean", own_[t].head.mean);
    set(part, "head.variance", own_[t].head.variance);
    set(part, "before", own_[t].before);
    for (std::size_t l = 0; l < own_[t].film.scale.size(); ++l) {
      part.set(fmt::format("scale.{}", l), own_[t].film.scale[l])
          .set(fmt::format("shift.{}", l), own_[t].film.shift[l]);
    }
    state.set(fmt::format("task.{}", t), part);
  }
  return state;
}

void ContinualLearner::restore(const State& state) {
  const Parameters hidden = hidden_part(initial_), head = head_part(initial_);
  shared_ = {kept(state, "mean", hidden), kept(state, "variance", hidden)};
  curvature_ = kept(state, "curvature", hidden);
  own_.clear();
  for (std::int64_t t = 0; t < state.whole("tasks"); ++t) {
    const State part = state.part(fmt::format("task.{}", t));
    Own own{{kept(part, "head.mean", head), kept(part, "head.variance", head)}, {}, kept(part, "before", initial_)};
    for (std::size_t l = 0; settings_.film && l < hidden.size() / 2; ++l) {
      own.film.scale.push_back(part.tensor(fmt::format("scale.{}", l)));
      own.film.shift.push_back(part.tensor(fmt::format("shift.{}", l)));
    }
    own_.push_back(std::move(own));
  }
}

Tensor averaged_predictions(const Mlp& network, const DiagonalGaussian& weights, const Tensor& images, LossKind loss,
                            std::int64_t draws, Generator& random) {
  const std::int64_t classes = std::max<std::int64_t>(network.outputs(), 2);
  Tensor sum = at::zeros({images.size(0), classes});
  for (std::int64_t i = 0; i < draws; ++i) {
    const bool fixed = weights.is_certain();
    sum.add_(class_probabilities(network.evaluate(fixed ? weights.mean : weights.draw(random), images), loss));
    if (fixed) return sum;
  }
  return sum / static_cast<double>(draws);
}

}  // namespace afterimage
