// A Subject in, a Reconstruction out; and the one list of all attacks.
//
// An attack is never handed what it must find: a Subject holds no training data, and no header under attacks/ includes
// the readers of data sets. Training and control images are seen by scoring alone.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "attacks/claim.h"
#include "attacks/subject.h"
#include "models/foundations/options.h"
#include "models/foundations/progress.h"
#include "models/foundations/status.h"
#include "models/state.h"

namespace afterimage {

// What earlier attacks of the same audit made of the subject by themselves: never the truth.
struct HandOver {
  Tensor confirmed;       // [K, d] images that they were sure of; undefined when there are none
  Tensor candidates;      // [M, d] all others that they claim, likewise
  bool complete = false;  // an attack has confirmed as many as the row space counts: nothing is left to find
};

struct Reconstruction {
  Status status = Status::ok;
  std::string reason;  // one sentence, wherever the status is not ok
  Claim claim;
  Tensor coefficients;    // [M, F]; undefined when the attack has none
  bool complete = false;  // as many images are confirmed as the row space counts
  std::int64_t iterations = 0;
  std::optional<double> loss_initial, loss_final, relative_loss;
  nlohmann::ordered_json evidence = nlohmann::ordered_json::object();
};

Reconstruction not_applicable(std::string reason);

// What an attack takes at most, as far as can be said before it is begun.
struct Estimate {
  double products = 0;           // multiplications in matrix products
  double programme_seconds = 0;  // of linear programmes and splitting, on one core of some 2020 machine
  double bytes = 0;              // at its peak, beside the subject itself
  double seconds = 0;            // of work that was tried on this machine, with the threads that there are
};

class Attack {
 public:
  virtual ~Attack() = default;
  virtual std::string name() const = 0;         // as users type it
  virtual std::string description() const = 0;  // one line
  virtual std::string needs() const = 0;        // what the attacker must know
  virtual std::string does_not_apply() const = 0;
  virtual std::vector<OptionSpec> options() const = 0;
  // Whether it attacks networks of infinite width, which have no parameters.
  virtual bool works_without_weights() const { return false; }
  // Whether it can do without the weights before training; other attacks are not run where these are not known.
  virtual bool works_without_initial() const { return false; }
  // For a subject that was trained on `images` images; that the attack applies is supposed.
  virtual Estimate estimate(const Subject& subject, std::int64_t images, const OptionValues& options) const = 0;
  // Throws UsageError on an option that is wrong, before any work is done.
  virtual void validate(const OptionValues&) const {}
  // The same subject, hand-over, options and generator state give the same result, and so does going on from what an
  // interrupted run of the same kept. Throws UsageError on a wrong option, Interrupted.
  virtual Reconstruction run(const Subject& subject, const HandOver& hand_over, const OptionValues& options,
                             Generator& random, Progress& progress, StateStore& store) const = 0;
};

// Cheapest first: the order in which an audit runs them.
const std::vector<std::unique_ptr<Attack>>& all_attacks();
// Throws UsageError that lists the names there are.
const Attack& attack_named(const std::string& name);

}  // namespace afterimage
