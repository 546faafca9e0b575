// The report of one comparison: several defence settings under the same audit, utility against leakage; the data, and
// its JSON form (schema/comparison-1.json). Rates are fractions; what could not be measured is null and `reason` says
// why.
#pragma once

#include <string>
#include <vector>

#include "reports/report.h"

namespace afterimage {

// The attack with the largest membership AUC.
struct BestMembership {
  std::string attack;
  Number auc, tpr_at_fpr_0_01;
  Number epsilon_lower_bound, delta;  // the largest of all attacks, which holds with 95 % confidence
};
inline constexpr auto best_membership_figures = std::to_array<Figure<BestMembership>>({
    {"auc", &BestMembership::auc, Unit::probability, "Membership AUC",
     "of the attack that does best; 0.5: guessing, 1: training images are always told from others"},
    {"tpr_at_fpr_0_01", &BestMembership::tpr_at_fpr_0_01, Unit::fraction, "True positives at 1 % false positives",
     "share of the training images that this attack finds while 1 of 100 control images is taken for one"},
    {"epsilon_lower_bound", &BestMembership::epsilon_lower_bound, Unit::number, "Lower bound on epsilon",
     "the largest of all attacks; no differential privacy with a smaller epsilon made this network"},
    {"delta", &BestMembership::delta, Unit::probability, "Delta", "of that bound"},
});

// One network: a setting trained and audited with one seed.
struct ComparisonRun {
  std::int64_t seed = 0;
  std::string folder;  // relative to the comparison's; holds run/ and report/
  Status status = Status::ok;
  std::string reason;     // why it failed, or is inconclusive
  bool diverged = false;  // the training loss ended higher than it began: the network says nothing of the defence
  Number train_accuracy, test_accuracy;  // on the original training images; on images that were not trained on
  std::int64_t test_samples = 0;
  std::string attack;  // the one that reconstructed most
  std::optional<Rate> reconstructed, control;
  std::optional<Confirmed> confirmed;
  Number p_value;
  std::int64_t reconstruction_attacks = 0;  // attacks that made images
  BestMembership membership;
  std::int64_t membership_attacks = 0;  // attacks that measured membership
  std::int64_t training_images = 0, control_images = 0;
  Json defense = Json::object();  // what the defence measured, e.g. the epsilon that was spent
};
inline constexpr auto run_utility_figures = std::to_array<Figure<ComparisonRun>>({
    {"train_accuracy", &ComparisonRun::train_accuracy, Unit::fraction, "Training accuracy",
     "on the original training images"},
    {"test_accuracy", &ComparisonRun::test_accuracy, Unit::fraction, "Test accuracy",
     "on images that were not trained on"},
});
inline constexpr auto run_leakage_figures = std::to_array<Figure<ComparisonRun>>({
    {"p_value", &ComparisonRun::p_value, Unit::probability, "p-value",
     "probability that chance alone reconstructs as many (Fisher's exact test)"},
});

// A distilled image and its nearest training image.
struct SupportPicture {
  std::string support_png, nearest_png;  // base64
  std::int64_t nearest = 0;              // row of the training set
  double relative_distance = 0;          // relative L2
};

struct ComparisonSetting {
  std::string name, defense, description, limits;
  Json options = Json::object();
  Json train = Json::object();  // options of `train` in place of the common ones
  std::vector<ComparisonRun> runs;
  std::vector<SupportPicture> pictures;  // of the first seed
  // Over all runs; see summarize().
  Number test_accuracy, test_accuracy_low, test_accuracy_high;  // mean and 95 % interval
  std::optional<Rate> reconstructed, control;                   // sums over seeds
  // Of those counts, by Fisher's exact test; of the mean AUC, by Mann and Whitney's. Each run shows the best of its
  // attacks, so each p-value is multiplied by the number of ways to choose them (Bonferroni): attacks to the power of
  // runs.
  Number p_value;
  Number membership_auc;  // mean
  Number membership_p_value;
  // On the Pareto front: no other setting is at least as accurate, leaks no more, and is better in one of the two. A
  // setting with an inconclusive audit dominates none: its leakage is only known from below. One whose training
  // diverged is on no front.
  bool on_front = false;
  std::string sentence;  // the result in plain words
};
inline constexpr auto setting_figures = std::to_array<Figure<ComparisonSetting>>({
    {"p_value", &ComparisonSetting::p_value, Unit::probability, "p-value",
     "of the counts over all seeds (Fisher's exact test), corrected for the choice of the best attack"},
    {"membership_auc", &ComparisonSetting::membership_auc, Unit::probability, "Membership AUC",
     "mean over the seeds of the best attack's"},
    {"membership_p_value", &ComparisonSetting::membership_p_value, Unit::probability, "p-value of the membership AUC",
     "Mann and Whitney's test of that mean, corrected for the choice of the best attack"},
});

struct DefenseComparison {
  Tool tool;
  DataFacts data;
  std::string architecture;
  std::vector<std::int64_t> seeds;
  std::vector<ComparisonSetting> settings;
  std::vector<std::string> limitations;
  Json timing = Json::object();
};

// What a run shows against what its defence claims: "the bound on epsilon of seed 1, ..."; empty where nothing does. A
// claim at a delta above the bound's says nothing of it.
std::string refuted_claim(const ComparisonRun& run);

// Whether no audit was inconclusive or failed; otherwise the count of reconstructed images is a lower bound.
bool settled(const ComparisonSetting& setting);

// Fills the fields of settings that cover all their runs. The interval of the accuracy is Student's t over seeds, or
// with one seed Clopper-Pearson's over test images.
void summarize(DefenseComparison& comparison);

constexpr const char* comparison_schema = "afterimage.comparison/1";

Json to_json(const DefenseComparison& comparison);
// `name` is the file that error messages name. Fields that only summarize() needs are not in the document and keep
// their defaults. Throws InputError when the document is not a comparison of this major version or a field has the
// wrong type; unknown fields are ignored.
DefenseComparison comparison_from_json(const Json& document, const std::string& name);
// Text from files is escaped; the same comparison gives the same bytes.
std::string render_html(const DefenseComparison& comparison);

}  // namespace afterimage
