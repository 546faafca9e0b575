#include "models/training.h"

#include <fmt/format.h>
#include <torch/optim.h>

#include <algorithm>
#include <cmath>

#include "models/augmentation.h"
#include "models/batches.h"
#include "models/foundations/error.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

std::string names_of(const Parameters& parameters) {
  std::string names;
  for (const auto& [name, tensor] : parameters.entries()) names += (names.empty() ? "" : ", ") + name;
  return names;
}

std::unique_ptr<torch::optim::Optimizer> make_optimizer(const Recipe& recipe, std::vector<Tensor> parameters) {
  if (recipe.optimizer == Optimizer::adam) {
    return std::make_unique<torch::optim::Adam>(
        std::move(parameters), torch::optim::AdamOptions(recipe.learning_rate).weight_decay(recipe.weight_decay));
  }
  return std::make_unique<torch::optim::SGD>(
      std::move(parameters),
      torch::optim::SGDOptions(recipe.learning_rate).momentum(recipe.momentum).weight_decay(recipe.weight_decay));
}

// A short loss curve: when it is full, every second point is dropped and the stride doubles.
class Curve {
 public:
  void add(std::int64_t step, double loss) {
    if (step % stride_ != 0) return;
    points_.emplace_back(step, loss);
    if (points_.size() < 200) return;
    std::vector<std::pair<std::int64_t, double>> kept;
    for (std::size_t i = 0; i < points_.size(); i += 2) kept.push_back(points_[i]);
    points_ = std::move(kept);
    stride_ *= 2;
  }
  std::vector<std::pair<std::int64_t, double>> ending_at(std::int64_t step, double loss) && {
    if (points_.empty() || points_.back().first != step) points_.emplace_back(step, loss);
    return std::move(points_);
  }

 private:
  std::int64_t stride_ = 1;
  std::vector<std::pair<std::int64_t, double>> points_;
};

}  // namespace

LossKind parse_loss(const std::string& text, const std::string& where) {
  for (const auto kind : {LossKind::squared, LossKind::logistic, LossKind::cross_entropy}) {
    if (text == name_of(kind)) return kind;
  }
  throw UsageError(fmt::format("{} {}: has to be squared, logistic or cross-entropy", where, text));
}

Optimizer parse_optimizer(const std::string& text) {
  if (text == "sgd") return Optimizer::sgd;
  if (text == "adam") return Optimizer::adam;
  throw UsageError(fmt::format("--optimizer {}: has to be sgd or adam", text));
}

std::string name_of(LossKind loss) {
  switch (loss) {
    case LossKind::squared:
      return "squared";
    case LossKind::logistic:
      return "logistic";
    case LossKind::cross_entropy:
      return "cross-entropy";
  }
  throw std::logic_error("unknown loss");
}

std::string name_of(Optimizer optimizer) { return optimizer == Optimizer::sgd ? "sgd" : "adam"; }

double loss_of(LossKind loss, const Tensor& outputs, const Tensor& targets) {
  switch (loss) {
    case LossKind::squared:
      return (outputs - targets).square_().sum(1).mean().item<double>() / 2;
    case LossKind::logistic:
      return at::softplus((targets * outputs).neg()).mean().item<double>();
    case LossKind::cross_entropy:
      return (at::log_softmax(outputs, 1) * targets).sum(1).mean().neg().item<double>();
  }
  throw std::logic_error("unknown loss");
}

Tensor cotangents(LossKind loss, const Tensor& outputs, const Tensor& targets) {
  switch (loss) {
    case LossKind::squared:
      return outputs - targets;
    case LossKind::logistic:
      return (targets * outputs).neg_().sigmoid_().mul_(targets).neg_();
    case LossKind::cross_entropy:
      return at::softmax(outputs, 1).sub_(targets);
  }
  throw std::logic_error("unknown loss");
}

void require_fit(LossKind loss, std::int64_t outputs) {
  if (loss == LossKind::logistic && outputs != 1) {
    throw UsageError(
        fmt::format("--loss logistic: needs a task with one output but this one has {}; use cross-entropy", outputs));
  }
  if (loss == LossKind::cross_entropy && outputs < 2) {
    throw UsageError("--loss cross-entropy: needs a task with several outputs; use logistic or squared");
  }
}

// Cross-entropy of other targets has no lower bound and a different gradient.
bool are_distributions(const Tensor& targets) {
  constexpr double rounding = 1e-3;
  return (targets >= 0).all().item<bool>() && ((targets.sum(1) - 1).abs() < rounding).all().item<bool>();
}

void require_fit(LossKind loss, std::int64_t outputs, const Tensor& targets) {
  require_fit(loss, outputs);
  if (loss == LossKind::cross_entropy && !are_distributions(targets)) {
    throw UsageError(
        "--loss cross-entropy: needs targets that are probabilities, and these are not (learned labels can be any "
        "numbers); use squared");
  }
}

std::vector<bool> trainable(const Parameters& parameters, const std::vector<std::string>& frozen) {
  std::vector<bool> trained(parameters.size(), true);
  for (const auto& prefix : frozen) {
    bool any = false;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      if (!parameters.entries()[i].first.starts_with(prefix)) continue;
      trained[i] = false;
      any = true;
    }
    if (!any) {
      throw UsageError(fmt::format("--freeze {}: no parameter has a name that begins with it; the names are {}", prefix,
                                   printable(names_of(parameters))));
    }
  }
  if (std::none_of(trained.begin(), trained.end(), [](bool free) { return free; })) {
    throw UsageError("--freeze: leaves nothing to train; freeze fewer parameters");
  }
  return trained;
}

double accuracy(const Tensor& outputs, const Tensor& targets) {
  const Tensor right =
      outputs.size(1) == 1 ? (outputs * targets > 0).squeeze(1) : outputs.argmax(1) == targets.argmax(1);
  return right.to(at::kDouble).mean().item<double>();
}

Tensor class_probabilities(const Tensor& outputs, LossKind loss) {
  switch (loss) {
    case LossKind::squared:
      throw UsageError("--loss squared: its outputs are no probabilities; use logistic or cross-entropy");
    case LossKind::logistic: {
      const Tensor second = outputs.sigmoid();
      return at::cat({1 - second, second}, 1);
    }
    case LossKind::cross_entropy:
      return at::softmax(outputs, 1);
  }
  throw std::logic_error("unknown loss");
}

Tensor class_outputs(const Tensor& outputs, std::int64_t subclasses, std::int64_t target_columns) {
  const Tensor classes = outputs.reshape({outputs.size(0), -1, subclasses}).logsumexp(2);
  return target_columns == 1 ? classes.narrow(1, 1, 1) - classes.narrow(1, 0, 1) : classes;
}

Tensor by_subclasses(const Tensor& outputs, const Tensor& by_classes, std::int64_t subclasses) {
  const Tensor all = by_classes.size(1) == 1 ? at::cat({-by_classes, by_classes}, 1) : by_classes;
  return at::softmax(outputs.reshape({outputs.size(0), -1, subclasses}), 2).mul(all.unsqueeze(2)).flatten(1);
}

Objective objective_of(LossKind loss, const Tensor& targets) {
  return {[=](const Tensor& outputs) { return loss_of(loss, outputs, targets); },
          [=](const Tensor& outputs, const Tensor& rows) {
            const Tensor wanted = rows.defined() ? targets.index_select(0, rows) : targets;
            return cotangents(loss, outputs, wanted).div_(static_cast<double>(outputs.size(0)));
          }};
}

Training train(const Network& network, const Parameters& initial, const Tensor& images, const Tensor& targets,
               const Recipe& recipe, Generator& random, Progress& progress) {
  require_fit(recipe.loss, network.outputs(), targets);
  return train(network, initial, images, objective_of(recipe.loss, targets), recipe, random, progress);
}

Training train(const Network& network, const Parameters& initial, const Tensor& images, const Objective& objective,
               const Recipe& recipe, Generator& random, Progress& progress) {
  Training result{initial.clone(), "steps", 0, 0, {}};
  const std::vector<bool> trained = trainable(initial, recipe.frozen);
  std::vector<Tensor> tensors;
  std::vector<std::size_t> entries;  // of each tensor
  for (std::size_t i = 0; i < trained.size(); ++i) {
    if (!trained[i]) continue;
    tensors.push_back(result.trained[i]);
    entries.push_back(i);
  }
  const auto optimizer = make_optimizer(recipe, tensors);
  Batches batches(images.size(0), recipe.batch, random);
  Curve curve;

  const double first_loss = objective.loss(network.evaluate(result.trained, images));
  double best = first_loss;
  std::int64_t best_step = 0;
  for (std::int64_t step = 0;; ++step) {
    double loss = 0;
    Parameters gradient;
    if (batches.whole() && recipe.augment == 0) {  // one pass gives the loss and its gradient
      gradient = network.pullback(result.trained, images, [&](const Tensor& outputs) {
        loss = objective.loss(outputs);
        return objective.cotangents(outputs, {});
      });
    } else {
      loss = objective.loss(network.evaluate(result.trained, images));
      const Tensor rows = batches.next();
      Tensor seen = images.index_select(0, rows);
      if (recipe.augment > 0) seen = augmented(seen, recipe.picture_shape, recipe.augment, random);
      gradient = network.pullback(result.trained, seen,
                                  [&](const Tensor& outputs) { return objective.cotangents(outputs, rows); });
    }
    if (!std::isfinite(loss) || loss > 1e4 * std::max(first_loss, 1.0)) {
      throw UsageError(fmt::format("--learning-rate {}: {} at step {} (loss {:.3g}); use a smaller one",
                                   recipe.learning_rate, training_diverged, step, loss));
    }
    curve.add(step, loss);
    progress.step(step, recipe.max_steps, fmt::format("loss {:.3g}", loss));
    result.steps = step;
    result.final_loss = loss;
    if (loss < best * 0.999) {
      best = loss;
      best_step = step;
    }
    if (recipe.until_loss > 0 && loss < recipe.until_loss) {
      result.stopped_by = "loss";
      break;
    }
    if (recipe.patience > 0 && step - best_step >= recipe.patience) {
      result.stopped_by = "plateau";
      break;
    }
    if (step >= recipe.max_steps) break;
    if (recipe.over_loss && loss > 0) gradient = gradient.times(1 / std::min(loss, 1.0));
    for (std::size_t i = 0; i < tensors.size(); ++i) tensors[i].mutable_grad() = gradient[entries[i]];
    optimizer->step();
  }
  for (auto& tensor : tensors) tensor.mutable_grad().reset();
  result.curve = std::move(curve).ending_at(result.steps, result.final_loss);
  return result;
}

}  // namespace afterimage
