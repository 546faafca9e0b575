// The report of one audit: the data, and its JSON form (schema/report-1.json).
//
// A number that could not be computed is an empty optional and its section's `reason` says why; no NaN or infinity is
// ever written. All rates are fractions.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "models/foundations/statistics.h"
#include "models/foundations/status.h"

namespace afterimage {

using Json = nlohmann::ordered_json;
using Number = std::optional<double>;

enum class Verdict { pass, fail, inconclusive, not_gated };

struct Tool {
  std::string name = "afterimage", version, libtorch, device = "cpu";
  int threads = 1;
  std::int64_t seed = 0;
  std::string command;  // that reproduces this report
};

struct InputFile {
  std::string role;  // "initial", "trained", "model", "network", "training-set", "training-record" or "control"
  std::string name;  // as given on the command line
  std::string format;
  std::uint64_t bytes = 0;
  std::string sha256;
};

struct ModelFacts {
  std::string architecture, parameterization;
  std::int64_t parameters = 0;
  std::vector<std::int64_t> input_shape;
  std::int64_t outputs = 1;
};

struct DataFacts {
  std::string source, task;
  std::int64_t samples = 0, dimension = 0, control_samples = 0;
  std::string control_source;
};

struct ThreatModel {
  std::vector<std::string> knows, does_not_know;
};

struct TrainingFacts {
  Number final_loss, train_accuracy, test_accuracy;
};

struct Deviation {
  Number kernel_distance, initial_to_infinite, final_to_infinite;
  Number linearization_error, linearization_error_control;
  Number relative_parameter_change;
  Number residual_at_truth, residual_at_truth_final;  // tangents at both ends; at the trained end alone
  Number parameters_per_unknown;
  std::string reason;  // why any of the above is null
};

// What may say beforehand how exposed an image is, and how well it does.
struct Predictor {
  std::string name;
  Number spearman, p_value;    // against exposure: minus the relative L2 from an image to its reconstruction
  std::vector<double> values;  // one a training image
};

struct Exposure {
  std::string attack;  // whose reconstructions are meant
  std::vector<Predictor> predictors;
  std::string reason;  // why any of the above is null or missing
};

struct Confirmed {
  std::int64_t count = 0, right = 0;
};

struct Sample {
  std::int64_t index = 0;  // row of the training set
  std::string label;
  Number distance, relative_distance, ssim, coefficient;
  bool reconstructed = false;
  std::string original_png, reconstruction_png;  // base64, may be empty
};

struct Finding {
  std::string attack;
  Status status = Status::ok;
  std::string reason;
  std::int64_t iterations = 0;
  Number loss_initial, loss_final, relative_loss;
  std::optional<Rate> reconstructed, control;
  std::optional<Confirmed> confirmed;
  std::optional<Membership> membership;
  Number p_value, mean_relative_distance, mean_ssim;
  Number threshold;  // relative L2 under which an image counts as reconstructed
  std::vector<double> member_distances,
      control_distances;           // relative L2 to the nearest reconstruction; control: counted half
  Json evidence = Json::object();  // what the attack itself measured, e.g. rank and singular values
  std::vector<Sample> samples;     // most exposed first
};

enum class Outcome { pass, fail, inconclusive };

struct RuleResult {
  std::string rule;  // e.g. "max_reconstructed_rate" or "finite-width.max_reconstructed_rate"
  Number measured, limit;
  Outcome outcome = Outcome::pass;
  std::string reason;
};

struct Gate {
  Json policy;  // the policy itself, so that the verdict can be recomputed from the report alone
  std::vector<RuleResult> rules;
};

struct Report {
  Tool tool;
  Verdict verdict = Verdict::not_gated;
  std::vector<InputFile> inputs;
  ModelFacts model;
  DataFacts data;
  ThreatModel threat_model;
  std::optional<TrainingFacts> training;
  Deviation deviation;
  std::vector<Finding> findings;
  std::optional<Exposure> exposure;  // null when no attack made images
  std::optional<Gate> gate;
  std::vector<std::string> limitations;
  Json timing = Json::object();  // everything that differs between two runs of one seed, and nothing else
};

// The finding that reconstructed the largest share of the training images, the first of equals; null when no attack
// made images.
const Finding* best_reconstruction(const std::vector<Finding>& findings);

// The finding that tells members from others best, the first of equals; null when no attack measured it.
const Finding* best_membership(const std::vector<Finding>& findings);

std::string name_of(Verdict verdict);
std::string name_of(Outcome outcome);

Json to_json(const Finding& finding);
Json to_json(const Report& report);

// `name` is the file that error messages speak of. Throws InputError when the document is not a report of this major
// version or a field has the wrong type; unknown fields are ignored.
Report report_from_json(const Json& document, const std::string& name);
Finding finding_from_json(const Json& document, const std::string& name);

}  // namespace afterimage
