#include "defenses/defense.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "defenses/baselines.h"
#include "defenses/dp_sgd.h"
#include "defenses/gvcl.h"
#include "defenses/kip.h"
#include "defenses/random_features.h"
#include "defenses/rcig.h"
#include "defenses/students.h"
#include "models/foundations/error.h"

namespace afterimage {

Release trained_on(SupportSet support, const Undefended& undefended, Job& job) {
  Release release;
  release.support = std::move(support);
  release.training = train(*undefended.network, undefended.initial, release.support.images, release.support.targets,
                           undefended.recipe, job.random, job.progress);
  return release;
}

const std::vector<Defense>& all_defenses() {
  static const std::vector<Defense> defenses = {
      no_defense(),
      early_stopping_defense(),
      weight_decay_defense(),
      release_noise_defense(),
      dp_sgd_defense(),
      random_subset_defense(),
      random_labels_defense(),
      kip_defense(),
      rkip_defense(),
      rkip_finite_defense(),
      random_features_defense(),
      rcig_defense(),
      distilled_student_defense(),
      lelp_defense(),
      gvcl_defense(),
  };
  return defenses;
}

const Defense& defense_named(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& defense : all_defenses()) {
    if (defense.name == name) return defense;
    names.push_back(defense.name);
  }
  throw UsageError(fmt::format("defence \"{}\": unknown; this version has {}", name, fmt::join(names, ", ")));
}

}  // namespace afterimage
