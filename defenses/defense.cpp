#include "defenses/defense.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "defenses/baselines.h"
#include "defenses/dp_sgd.h"
#include "defenses/kip.h"
#include "defenses/random_features.h"
#include "defenses/rcig.h"
#include "models/foundations/error.h"

namespace afterimage {
namespace {

// Training would say so too, after hours of distillation.
void require_loss(const Defense& defense, LossKind loss, const OptionValues& options) {
  if (loss != LossKind::cross_entropy || !defense.learns_any_labels(options)) return;
  const auto specs = defense.options();
  const bool can_fix = std::any_of(specs.begin(), specs.end(), [](const auto& spec) { return spec.name == "labels"; });
  throw UsageError(fmt::format(
      "--loss cross-entropy: takes probabilities, and defence \"{}\" learns labels that are any numbers; use squared{}",
      defense.name(), can_fix ? ", or --defense-option labels=fixed" : ""));
}

}  // namespace

SupportSet Defense::distill(const Undefended&, const OptionValues&, Generator&, Progress&, StateStore&) const {
  throw UsageError(fmt::format("defence \"{}\": makes no data; it acts on training or on the weights", name()));
}

Release Defense::release(const Undefended& undefended, const OptionValues& options, Generator& random,
                         Progress& progress, StateStore& store) const {
  require_loss(*this, undefended.recipe.loss, options);
  Release release;
  release.support = distill(undefended, options, random, progress, store);
  release.training = train(*undefended.network, undefended.initial, release.support.images, release.support.targets,
                           undefended.recipe, random, progress);
  return release;
}

const std::vector<std::unique_ptr<Defense>>& all_defenses() {
  static const auto defenses = [] {
    std::vector<std::unique_ptr<Defense>> list;
    list.push_back(std::make_unique<NoDefense>());
    list.push_back(std::make_unique<EarlyStopping>());
    list.push_back(std::make_unique<WeightDecay>());
    list.push_back(std::make_unique<ReleaseNoise>());
    list.push_back(std::make_unique<DpSgd>());
    list.push_back(std::make_unique<RandomSubset>());
    list.push_back(std::make_unique<RandomLabels>());
    list.push_back(std::make_unique<Kip>());
    list.push_back(std::make_unique<Rkip>());
    list.push_back(std::make_unique<RkipFinite>());
    list.push_back(std::make_unique<RandomFeatures>());
    list.push_back(std::make_unique<Rcig>());
    return list;
  }();
  return defenses;
}

const Defense& defense_named(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& defense : all_defenses()) {
    if (defense->name() == name) return *defense;
    names.push_back(defense->name());
  }
  throw UsageError(fmt::format("defence \"{}\": unknown; this version has {}", name, fmt::join(names, ", ")));
}

}  // namespace afterimage
