// The report of one audit: the data, and its JSON form (schema/report-1.json).
//
// A number that could not be computed is an empty optional and its section's `reason` says why; no NaN or infinity is
// ever written. All rates are fractions.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/foundations/figure.h"
#include "models/foundations/json.h"
#include "models/foundations/statistics.h"
#include "models/foundations/status.h"
#include "models/tangent/deviation_figures.h"

namespace afterimage {

// A p-value below it is called more than chance in sentences and pages.
inline constexpr double significant = 0.05;

// Three results stand in a report: how an attack ended (Status, models/foundations/status.h), how a rule of the policy
// came out (Outcome), and what the whole audit says (Verdict).
enum class Outcome {
  pass,          // the measured value is within its limit
  fail,          // it is above its limit
  inconclusive,  // there is no such value, or it cannot be told from the limit
};
enum class Verdict {
  pass,          // every rule passed, or was allowed to be inconclusive
  fail,          // some rule failed, or was inconclusive where the policy treats that as failure
  inconclusive,  // under a policy: some rule was, and the policy says so; without one: some attack was or failed
  not_gated,     // measured without a policy
};

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
  std::string key = {};  // of the state dict in a checkpoint of several
  // How it was read: what was left out, which names were changed, classes and counts.
  std::vector<std::string> notes = {};
};

// Of a hidden-to-hidden matrix of a recurrent or low-rank network.
struct Spectrum {
  std::vector<double> singular_values;  // the largest first
  Number radius;                        // the largest absolute eigenvalue; of square matrices
};
struct HiddenMatrix {
  std::string name;
  std::optional<Spectrum> initial;  // where the weights before training are known
  Spectrum trained;
};

struct ModelFacts {
  std::string architecture, parameterization;
  std::int64_t parameters = 0;
  std::vector<std::int64_t> input_shape;
  std::int64_t outputs = 1;
  std::vector<HiddenMatrix> connectivity = {};
};

// What one input is: a picture, or a row of a table.
enum class InputKind { image, record };

struct DataFacts {
  std::string source, task;
  std::int64_t samples = 0, dimension = 0, control_samples = 0;
  std::string control_source;
  InputKind kind = InputKind::image;
  std::vector<std::string> columns = {};   // of records: their names, or empty where they have none
  std::vector<std::int64_t> one_hot = {};  // of records: ImageSpace::one_hot
};

struct ThreatModel {
  std::vector<std::string> knows, does_not_know;
};

struct TrainingFacts {
  Number final_loss, train_accuracy, test_accuracy, test_calibration_error;
};
inline constexpr auto training_figures = std::to_array<Figure<TrainingFacts>>({
    {"final_loss", &TrainingFacts::final_loss, Unit::number, "Final loss", "on the training images"},
    {"train_accuracy", &TrainingFacts::train_accuracy, Unit::fraction, "Training accuracy", "on the training images"},
    {"test_accuracy", &TrainingFacts::test_accuracy, Unit::fraction, "Test accuracy",
     "on images that were not trained on"},
    {"test_calibration_error", &TrainingFacts::test_calibration_error, Unit::fraction, "Calibration error",
     "how far confidence is from accuracy on images that were not trained on, 15 bins"},
});

// A property of a training image that may predict how exposed it is, and how well it does so.
struct Predictor {
  std::string name;
  Number spearman, p_value;    // with the exposure: minus the relative L2 from an image to its reconstruction
  std::vector<double> values;  // one for each training image
};
inline constexpr auto predictor_figures = std::to_array<Figure<Predictor>>({
    {"spearman", &Predictor::spearman, Unit::number, "Correlation", "Spearman's rank correlation with the exposure"},
    {"p_value", &Predictor::p_value, Unit::probability, "p-value", "two-sided, of that correlation"},
});

struct Exposure {
  std::string attack;  // the one whose reconstructions were compared
  std::vector<Predictor> predictors;
  std::string reason;  // why any of the above is null or missing
};

inline constexpr auto membership_figures = std::to_array<Figure<Membership>>({
    {"auc", &Membership::auc, Unit::probability, "Membership AUC",
     "how often a training image scores higher than a control image; 0.5: guessing, 1: always"},
    {"tpr_at_fpr_0_01", &Membership::tpr_at_fpr_0_01, Unit::fraction, "True positives at 1 % false positives",
     "share of the training images found while 1 of 100 control images is taken for one"},
    {"tpr_at_fpr_0_001", &Membership::tpr_at_fpr_0_001, Unit::fraction, "True positives at 0.1 % false positives",
     "share of the training images found while 1 of 1000 control images is taken for one; needs 1000 control images"},
    {"advantage", &Membership::advantage, Unit::probability, "Membership advantage",
     "true positive rate minus false positive rate at the best threshold"},
});

// Images that the attack confirmed by itself, without the training set, and how many of them are training images.
struct Confirmed {
  std::int64_t count = 0, right = 0;
};

// A training image and the reconstruction that was matched with it.
struct Sample {
  std::int64_t index = 0;  // row of the training set
  std::string label;
  Number distance, relative_distance, ssim, coefficient;
  bool reconstructed = false;
  std::string original_png, reconstruction_png;  // base64, may be empty
  // Of records of few columns: their values before the mean was subtracted; else empty.
  std::vector<double> original = {}, reconstruction = {};
};
inline constexpr auto sample_figures = std::to_array<Figure<Sample>>({
    {"distance", &Sample::distance, Unit::number, "L2 distance", "from the training image to its reconstruction"},
    {"relative_distance", &Sample::relative_distance, Unit::number, "Relative L2 distance",
     "the same over the norm of the training image less the mean image"},
    {"ssim", &Sample::ssim, Unit::number, "SSIM", "structural similarity: 1: the same picture, 0: unrelated"},
    {"coefficient", &Sample::coefficient, Unit::number, "Coefficient",
     "norm of the dual coefficients that the attack gives the reconstruction"},
});

struct Finding {
  std::string attack;
  Status status = Status::ok;
  std::string reason;
  std::int64_t iterations = 0;
  Number loss_initial, loss_final, relative_loss;
  std::optional<Rate> reconstructed, control;
  std::optional<Confirmed> confirmed;
  bool complete = false;  // the confirmed images alone explain the weights: none is left for other attacks
  std::optional<Membership> membership;
  Number p_value, mean_relative_distance, mean_ssim, threshold;
  // Relative L2 to the nearest reconstruction; of the control images, those of the half that is counted.
  std::vector<double> member_distances, control_distances;
  Json evidence = Json::object();  // what the attack itself measured, e.g. rank and singular values
  std::vector<Sample> samples;     // most exposed first
};
// Of the attack's search.
inline constexpr auto search_figures = std::to_array<Figure<Finding>>({
    {"loss_initial", &Finding::loss_initial, Unit::number, "Loss at the start", "of the search"},
    {"loss_final", &Finding::loss_final, Unit::number, "Loss at the end", "of the search"},
    {"relative_loss", &Finding::relative_loss, Unit::number, "Relative loss",
     "share of the weights' change that the candidates leave unexplained"},
});
// Of its reconstructions, compared with the training set and the control set.
inline constexpr auto score_figures = std::to_array<Figure<Finding>>({
    {"p_value", &Finding::p_value, Unit::probability, "p-value",
     "probability that chance alone does as well (Fisher's exact test)"},
    {"mean_relative_distance", &Finding::mean_relative_distance, Unit::number, "Mean relative L2 distance",
     "from training images to their reconstructions; 0: exact, 1: as far as the mean image"},
    {"mean_ssim", &Finding::mean_ssim, Unit::number, "Mean SSIM",
     "structural similarity; 1: the same picture, 0: unrelated"},
    {"threshold", &Finding::threshold, Unit::number, "Threshold",
     "relative L2 distance below which an image counts as reconstructed, set by half of the control set"},
});

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

// Whether an attack among `attacks` that made images reconstructed more than chance explains (p below `significant`, as
// often as there are attacks), or confirmed a training image by itself; whatever the status.
bool leaks(const Finding& finding, std::size_t attacks);
// How many of them made images.
std::size_t attacks_with_images(const std::vector<Finding>& findings);
// The finding that leaks and reconstructed most; null where none leaks.
const Finding* found_leak(const std::vector<Finding>& findings);
// The best membership of a report whose attack tells training images from others by more than chance: p below 0.001, as
// often as there are attacks. Null where none does.
const Finding* found_members(const Report& report);

// The finding with the largest membership AUC, the first of equals; null when no attack measured it.
const Finding* best_membership(const std::vector<Finding>& findings);

std::string name_of(Verdict verdict);
std::string name_of(Outcome outcome);

Json to_json(const Deviation& deviation);
Json to_json(const Finding& finding);
Json to_json(const Report& report);

// `name` is the file that error messages name. Throws InputError when the document is not a report of this major
// version or a field has the wrong type; unknown fields are ignored.
Report report_from_json(const Json& document, const std::string& name);
Finding finding_from_json(const Json& document, const std::string& name);

}  // namespace afterimage
