#include "attacks/loss.h"

#include <limits>

#include "models/foundations/error.h"

namespace afterimage {
namespace {

struct Settings {
  std::string score;
};

Settings parse(const OptionValues& options) { return {options.one_of("loss-score", {"loss", "base", "margin"})}; }

Estimate estimate(const Settings&, const Subject& subject, std::int64_t images) {
  const auto* released = subject.trained_network();
  if (released == nullptr) return {};
  constexpr std::int64_t assumed_control = 1000;
  Estimate estimate;
  estimate.products = static_cast<double>(released->trained.count() * (images + assumed_control));
  return estimate;
}

// Outputs of the classes: those of groups that stand for one class each, and the targets' columns.
Tensor class_outputs_for(const Tensor& outputs, const Tensor& targets) {
  const std::int64_t classes = targets.size(1) == 1 ? 2 : targets.size(1), count = outputs.size(1);
  if (count == targets.size(1)) return outputs;
  if (count % classes != 0) throw NotApplicable("the network's outputs are not those of the candidates' targets");
  return class_outputs(outputs, count / classes, targets.size(1));
}

// Each image's own loss, [n].
Tensor losses(LossKind loss, const Tensor& outputs, const Tensor& targets) {
  switch (loss) {
    case LossKind::squared:
      return (outputs - targets).square().sum(1) / 2;
    case LossKind::logistic:
      return at::softplus(-(outputs * targets).sum(1));
    case LossKind::cross_entropy:
      break;
  }
  return -(at::log_softmax(outputs, 1) * targets).sum(1);
}

// How far the label's output is above the largest other.
Tensor margins(const Tensor& outputs, const Tensor& targets) {
  if (outputs.size(1) == 1) return (outputs * targets).sum(1);
  const Tensor is_label = at::one_hot(targets.argmax(1), outputs.size(1)).to(at::kBool);
  const double lowest = -std::numeric_limits<double>::infinity();
  return (outputs * is_label).sum(1) - outputs.masked_fill(is_label, lowest).amax(1);
}

Reconstruction run(const Settings& settings, const Subject& subject, const HandOver&, Job&) {
  const auto& released = std::get<TrainedNetwork>(subject.released);
  if (settings.score == "base" && !released.knows_initial()) {
    return not_applicable("the weights before training are not known, and loss-score is base");
  }
  Reconstruction result;
  result.evidence["score"] = settings.score;
  result.claim.membership = [settings, &released, known = subject.loss](const Candidates& pool) {
    if (!pool.targets.defined()) throw NotApplicable("the labels of the candidates are not known");
    const Tensor targets = pool.targets.to(at::kDouble);
    const auto outputs_at = [&](const Parameters& parameters) {
      return class_outputs_for(released.network->evaluate(parameters, pool.images).to(at::kDouble), targets);
    };
    const Tensor outputs = outputs_at(released.trained);
    if (settings.score == "margin") return margins(outputs, targets);
    const LossKind loss = known.value_or(targets.size(1) == 1 ? LossKind::squared : LossKind::cross_entropy);
    const Tensor trained = losses(loss, outputs, targets);
    return settings.score == "loss" ? trained.neg() : losses(loss, outputs_at(released.initial), targets) - trained;
  };
  return result;
}

}  // namespace

Attack loss_attack() {
  Attack attack;
  attack.name = "loss";
  attack.description = "tells members from others by the loss of the trained network, or its margin";
  attack.needs = "trained parameters, or their outputs, candidates with labels; of base also the initial parameters";
  attack.does_not_apply = "networks of infinite width, which fit every training image alike";
  attack.works_without_initial = true;
  attack.options = {{"loss-score", "loss, base (less the loss before training), or margin (of the label's output)",
                     "loss", "loss|base|margin"}};
  attack.configure = configured_by(parse, estimate, run);
  return attack;
}

}  // namespace afterimage
