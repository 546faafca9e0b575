// The record of an attack, and the one list of all attacks.
//
// An attack gets a Subject and returns a Reconstruction. A Subject holds no training data, and this folder's target is
// linked without the readers of data sets: only scoring sees training and control images.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "attacks/scoring/claim.h"
#include "attacks/solver/cost.h"
#include "attacks/subject.h"
#include "models/foundations/options.h"
#include "models/foundations/status.h"
#include "models/job.h"

namespace afterimage {

// What earlier attacks of the same audit made of the subject by themselves: never the truth.
struct HandOver {
  Tensor confirmed;       // [K, d] images that an attack confirmed; undefined where there are none
  Tensor candidates;      // [M, d] all others that were claimed, likewise
  bool complete = false;  // as many images are confirmed as the row space counts: nothing is left to find
};

struct Reconstruction {
  Status status = Status::ok;
  std::string reason;  // one sentence, wherever the status is not plainly ok
  Claim claim;
  Tensor coefficients;    // [M, F]; undefined where the attack has none
  bool complete = false;  // as many images are confirmed as the row space counts
  std::int64_t iterations = 0;
  std::optional<double> loss_initial, loss_final, relative_loss;
  nlohmann::ordered_json evidence = nlohmann::ordered_json::object();
  // What is measured while Claim::membership scores a pool, which comes after the attack and may use its Job; null
  // where there is none.
  std::shared_ptr<nlohmann::ordered_json> scoring_evidence;
};

Reconstruction not_applicable(std::string reason);
// Of an attack that applies, but whose time was up before it began.
Reconstruction not_begun();

// An attack with its settings.
struct ConfiguredAttack {
  // For a subject that was trained on so many images, on the supposition that the attack applies to it.
  std::function<Estimate(const Subject&, std::int64_t images)> estimate;
  // The same subject, hand-over, settings and generator state give the same result, and so does a run that continues
  // from the state that an interrupted one kept. Whether the attack applies is decided first, whatever time is left
  // (Job::progress). Throws Interrupted, OutOfTime, and std::bad_variant_access where the attack needs weights and the
  // subject has none.
  std::function<Reconstruction(const Subject&, const HandOver&, Job&)> run;
};

struct Attack {
  std::string name;         // as users type it
  std::string description;  // one line
  std::string needs;        // what the attacker must know
  std::string does_not_apply;
  std::vector<OptionSpec> options = {};
  bool works_without_weights = false;  // it attacks networks of infinite width too, which have no parameters
  bool works_without_initial = false;  // it needs no weights from before training; others are not run without these
  // From values of `options`. Throws UsageError on one that is wrong.
  std::function<ConfiguredAttack(const OptionValues&)> configure;

  // From options as typed, defaults for the rest.
  ConfiguredAttack configured(const std::map<std::string, std::string>& given = {}) const {
    return configure(OptionValues(options, given));
  }
};

// The factory of an attack from three functions: `parse` gives its settings, which the other two get.
template <class Settings>
auto configured_by(Settings (*parse)(const OptionValues&),
                   Estimate (*estimate)(const Settings&, const Subject&, std::int64_t images),
                   Reconstruction (*run)(const Settings&, const Subject&, const HandOver&, Job&)) {
  return [=](const OptionValues& options) -> ConfiguredAttack {
    const Settings settings = parse(options);
    return {[=](const Subject& subject, std::int64_t images) { return estimate(settings, subject, images); },
            [=](const Subject& subject, const HandOver& hand_over, Job& job) {
              return run(settings, subject, hand_over, job);
            }};
  };
}

// Cheapest first: the order in which an audit runs them.
const std::vector<Attack>& all_attacks();
// Throws UsageError that lists the names there are.
const Attack& attack_named(const std::string& name);

}  // namespace afterimage
