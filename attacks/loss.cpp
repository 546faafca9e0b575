#include "attacks/loss.h"

#include "attacks/scoring/class_scores.h"

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

Reconstruction run(const Settings& settings, const Subject& subject, const HandOver&, Job&) {
  const auto& released = std::get<TrainedNetwork>(subject.released);
  if (settings.score == "base" && !released.knows_initial()) {
    return not_applicable("the weights before training are not known, and loss-score is base");
  }
  Reconstruction result;
  result.evidence["score"] = settings.score;
  result.claim.membership = [settings, &released, known = subject.loss](const Candidates& pool) {
    const auto outputs_at = [&](const Parameters& parameters) {
      return outputs_of_classes(*released.network, parameters, pool);
    };
    const Tensor outputs = outputs_at(released.trained), targets = pool.targets.to(at::kDouble);
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
