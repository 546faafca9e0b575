#include "attacks/reference_models.h"

#include "attacks/scoring/class_scores.h"
#include "models/foundations/error.h"

namespace afterimage {
namespace {

constexpr std::int64_t assumed_control = 1000;
constexpr std::int64_t own_deviation_from = 64;  // references, from which each candidate has a deviation of its own
constexpr double least_deviation = 1e-6;

struct LiraSettings {};
LiraSettings parse_lira(const OptionValues&) { return {}; }

struct RmiaSettings {
  double offline_a = 0;
};
RmiaSettings parse_rmia(const OptionValues& options) { return {options.number("rmia-offline-a", 0, 1)}; }

template <class Settings>
Estimate estimate(const Settings&, const Subject& subject, std::int64_t images) {
  const auto* released = subject.trained_network();
  if (released == nullptr) return {};
  Estimate estimate;
  estimate.products = static_cast<double>(released->trained.count() * (images + assumed_control)) *
                      static_cast<double>(subject.references.size() + 1);
  return estimate;
}

// phi of the released network [n] and of each reference [K, n].
struct Confidences {
  Tensor released, references;
};

Confidences confidences(const Subject& subject, const Candidates& pool) {
  const auto& released = std::get<TrainedNetwork>(subject.released);
  std::vector<Tensor> references;
  for (const auto& reference : subject.references) {
    references.push_back(label_log_odds(*released.network, reference, pool));
  }
  return {label_log_odds(*released.network, released.trained, pool), at::stack(references)};
}

template <class Settings>
Reconstruction scored(const Subject& subject, const Settings& settings,
                      Tensor (*scores)(const Settings&, const Confidences&)) {
  if (subject.references.empty()) {
    return not_applicable(
        "there are no reference models; give some with --reference, or train the run with --references");
  }
  Reconstruction result;
  result.evidence["references"] = subject.references.size();
  result.claim.membership = [&subject, settings, scores](const Candidates& pool) {
    return scores(settings, confidences(subject, pool));
  };
  return result;
}

Tensor lira_scores(const LiraSettings&, const Confidences& phi) {
  const std::int64_t count = phi.references.size(0);
  const Tensor mean = phi.references.mean(0), gaps = phi.references - mean;
  if (count < 2) return phi.released - mean;
  const Tensor variance = gaps.square().sum(0) / static_cast<double>(count - 1);
  const Tensor deviation = (count < own_deviation_from ? variance.mean().expand_as(variance) : variance).sqrt();
  return (phi.released - mean) / deviation.clamp_min(least_deviation);
}

Tensor rmia_scores(const RmiaSettings& settings, const Confidences& phi) {
  const double a = settings.offline_a;
  const Tensor out = at::sigmoid(phi.references).mean(0);
  return at::log_sigmoid(phi.released) - (((1 + a) * out + (1 - a)) / 2).log();
}

Reconstruction run_lira(const LiraSettings& settings, const Subject& subject, const HandOver&, Job&) {
  return scored(subject, settings, lira_scores);
}

Reconstruction run_rmia(const RmiaSettings& settings, const Subject& subject, const HandOver&, Job&) {
  return scored(subject, settings, rmia_scores);
}

Attack with_references(std::string name, std::string description) {
  Attack attack;
  attack.name = std::move(name);
  attack.description = std::move(description);
  attack.needs = "trained parameters, or their outputs, candidates with labels, reference models";
  attack.does_not_apply = "where there are no reference models; networks of infinite width";
  attack.works_without_initial = true;
  return attack;
}

}  // namespace

Attack lira_attack() {
  Attack attack = with_references(
      "lira", "tells members from others by how much more confident the network is of the label than reference models");
  attack.configure = configured_by(parse_lira, estimate<LiraSettings>, run_lira);
  return attack;
}

Attack rmia_attack() {
  Attack attack = with_references(
      "rmia", "tells members from others by the label's probability over that which reference models give it");
  attack.options = {{"rmia-offline-a",
                     "how much smaller than with models that saw a record its probability is with those that did not: "
                     "from 0 (not known) to 1 (equal)",
                     "0.3", "NUMBER"}};
  attack.configure = configured_by(parse_rmia, estimate<RmiaSettings>, run_rmia);
  return attack;
}

}  // namespace afterimage
