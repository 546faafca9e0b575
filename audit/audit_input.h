// What an audit works on, read from the files that the command line names: a Subject for the attacks, the Truth for
// scoring, and the facts of the report.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "attacks/attack.h"
#include "attacks/scoring/score.h"
#include "audit/control_set.h"
#include "audit/drawn_data.h"
#include "audit/run_directory.h"
#include "reports/report.h"

namespace afterimage {

struct SubjectFiles {
  std::string initial;  // empty: the attacker does not know the weights before training
  std::string trained, training_set;
  std::string model;                    // empty: inferred from the trained weights, the training set and the task
  std::string task;                     // TASK, where there is no model; may be empty for several outputs
  std::string training_record;          // may be empty
  std::vector<std::string> references;  // weights of reference models
  Tensor references_trained_on;         // inputs [P, d] of which none may be scored; undefined where they are not known
  std::string canaries;                 // to audit in place of the training set; may be empty
  std::string support_set;              // what a defence trained on, of which no control image may be one; may be empty
  std::string key;                      // of the state dict in PyTorch checkpoints that hold several; else empty
  bool allow_torchscript = false;       // whether code in TorchScript archives may run
};
// The files of a run directory, without the initial weights where the attacker does not know them. Throws InputError
// naming the first file that is missing.
SubjectFiles files_of_run(const std::string& run, bool initial_known = true);
// Throws InputError where it has none.
std::string canaries_of_run(const std::string& run);

struct AuditInput {
  Subject subject;
  Truth truth;
  ModelDescription model;
  std::vector<std::string> labels;  // of the training images
  Tensor targets;                   // [N, C], what they were trained towards
  Report facts;                     // inputs, model, data, threat model, training
  // Whether classes are as frequent among the training as among the control images. Where they are not, scores that
  // depend on the class tell the two apart without membership, and no bound on epsilon holds.
  bool same_classes = true;
  bool by_coin = false;  // whether each record of the truth was trained on by a fair coin
  // Why the network does not look trained on this training set, as described; empty where it does. No result is relied
  // on then.
  std::string doubt;
};

// A network of infinite width trained to the end on images drawn from DATA: there are no weights to load.
struct InfiniteRequest {
  std::string data, task;
  InputRequest inputs;
  std::int64_t samples = 0, depth = 2;  // depth: hidden layers
  double weight_variance = 2, bias_variance = 0.1;
};
struct InfiniteInput {
  AuditInput audit;
  Tensor coefficients;  // the true dual coefficients [N, C]
};
InfiniteInput infinite_input(const InfiniteRequest& request, std::int64_t control_samples, std::int64_t seed);

// Reads and checks everything before any work is done. Throws InputError (exit 4) and UsageError (exit 2).
AuditInput load_audit_input(const SubjectFiles& files, const ControlRequest& control, std::int64_t seed);

}  // namespace afterimage
