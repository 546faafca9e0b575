// The report of one comparison: several defence settings under the same audit, utility against leakage; the data, and
// its JSON form (schema/comparison-1.json). Rates are fractions; what could not be measured is null and `reason` says
// why.
#pragma once

#include <string>
#include <vector>

#include "reports/report.h"

namespace afterimage {

// One network: a setting trained and audited with one seed.
struct ComparisonRun {
  std::int64_t seed = 0;
  std::string folder;  // below the comparison's own: run/ and report/ lie in it
  Status status = Status::ok;
  std::string reason;                    // why it failed, or is inconclusive
  Number train_accuracy, test_accuracy;  // on the original training images; on images that were never trained on
  std::int64_t test_samples = 0;
  std::string attack;  // that reconstructed most
  std::optional<Rate> reconstructed, control;
  std::optional<Confirmed> confirmed;
  Number p_value;
  std::int64_t reconstruction_attacks = 0;  // that made images
  std::string membership_attack;            // that tells members from others best
  Number membership_auc, membership_tpr_at_fpr_0_01;
  std::int64_t membership_attacks = 0;  // that measured it
  std::int64_t training_images = 0, control_images = 0;
  Json defense = Json::object();  // what the defence measured of itself, e.g. the privacy that was spent
};

// A distilled image beside the training image that it is nearest to.
struct SupportPicture {
  std::string support_png, nearest_png;  // base64
  std::int64_t nearest = 0;              // row of the training set
  double relative_distance = 0;          // relative L2
};

struct ComparisonSetting {
  std::string name, defense, description, limits;
  Json options = Json::object();
  std::vector<ComparisonRun> runs;
  std::vector<SupportPicture> pictures;  // of the first seed
  // Over all runs that are there; see summarize().
  Number test_accuracy, test_accuracy_low, test_accuracy_high;  // mean and 95 % interval
  std::optional<Rate> reconstructed, control;                   // counts added up over seeds
  // Of those counts, by Fisher's exact test; of the mean AUC, by Mann and Whitney's. Each run shows the best of its
  // attacks, so each is times the ways in which these could have been chosen (Bonferroni): attacks to the power of
  // runs.
  Number p_value;
  Number membership_auc;  // mean
  Number membership_p_value;
  // No other setting is at least as accurate and leaks no more, and better in one of both. One whose audits did not all
  // settle beats none: what it leaks is only known from below.
  bool on_front = false;
  std::string sentence;  // all of that in plain words
};

struct DefenseComparison {
  Tool tool;
  DataFacts data;
  std::string architecture;
  std::vector<std::int64_t> seeds;
  std::vector<ComparisonSetting> settings;
  std::vector<std::string> limitations;
  Json timing = Json::object();
};

// Every run was audited to the end; else what came back is a lower bound of what leaks.
bool settled(const ComparisonSetting& setting);

// Fills what settings say over all their runs. The interval of the accuracy is Student's t over seeds, or with one seed
// Clopper-Pearson's over test images.
void summarize(DefenseComparison& comparison);

constexpr const char* comparison_schema = "afterimage.comparison/1";

Json to_json(const DefenseComparison& comparison);
// `name` is the file that error messages speak of. What only summarize() needs is not in the document and stays at its
// defaults. Throws InputError when the document is not a comparison of this major version or a field has the wrong
// type; unknown fields are ignored.
DefenseComparison comparison_from_json(const Json& document, const std::string& name);
// Text from files is escaped; the same comparison gives the same bytes.
std::string render_html(const DefenseComparison& comparison);

}  // namespace afterimage
