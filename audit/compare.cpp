#include "audit/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "audit/defense_options.h"
#include "audit/jobs.h"
#include "audit/pictures.h"
#include "audit/report_file.h"
#include "audit/run_directory.h"
#include "defenses/distillation.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/folder_lock.h"
#include "models/foundations/json.h"

namespace afterimage {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t most_support_pictures = 20;
constexpr std::uint64_t largest_record = 64 << 20;
constexpr const char* spec_file = "spec.json";  // written first

struct Place {
  std::size_t setting = 0;
  std::int64_t seed = 0;
  std::string folder;  // below the comparison's own
};

std::vector<std::string> global_words(std::int64_t seed, int threads) {
  return {"--quiet", "--threads", std::to_string(threads), "--seed", std::to_string(seed)};
}

void add(std::vector<std::string>& words, const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
}

// Settings may have any names, folders have numbers.
std::string setting_folder(std::size_t setting) { return fmt::format("setting-{}", setting + 1); }

std::vector<Place> places_of(const CompareSpec& spec) {
  std::vector<Place> places;
  for (std::size_t i = 0; i < spec.settings.size(); ++i) {
    for (const auto seed : spec.seeds) places.push_back({i, seed, fmt::format("{}/seed-{}", setting_folder(i), seed)});
  }
  return places;
}

// The commands that a run still needs; none when its report exists. `train` writes model.json last.
ProcessJob job_of(const CompareSpec& spec, const Place& place, const fs::path& out, int threads) {
  const fs::path folder = out / place.folder;
  ProcessJob job{fmt::format("{}, seed {}", spec.settings[place.setting].name, place.seed), {}, folder / "log.txt"};
  if (fs::exists(folder / "report" / "report.json")) return job;
  fs::create_directories(folder);
  if (!fs::exists(folder / "run" / "model.json")) {
    fs::remove_all(folder / "run");
    job.commands.push_back(train_words(spec, spec.settings[place.setting], place.seed, folder, threads));
  }
  job.commands.push_back(audit_words(spec, place.seed, folder, threads));
  return job;
}

// Whether it holds nothing, or only a spec that was being written when a program was killed.
bool holds_nothing(const fs::path& folder) {
  return std::all_of(fs::directory_iterator(folder), fs::directory_iterator(),
                     [](const auto& entry) { return whole_name(entry.path()) == spec_file; });
}

// Throws UsageError where the folder holds another comparison's runs, or files of anything else.
void prepare(const CompareRequest& request) {
  const fs::path kept = request.out / spec_file;
  const std::string text = request.spec.document.dump(1) + "\n";
  if (!fs::exists(kept) && !holds_nothing(request.out)) {
    throw UsageError(
        fmt::format("--out {}: holds files but no {}, so it is not a comparison's folder; give a new or empty folder",
                    request.out.string(), spec_file));
  }
  if (request.resume && fs::exists(kept) && read_file(kept, largest_record) != text) {
    throw UsageError(
        fmt::format("--resume: {} holds a comparison of another spec; name a new folder, or give the same spec",
                    request.out.string()));
  }
  write_file(kept, text);
}

// Removes what a refused comparison wrote into a folder that was empty before, unless some run is complete.
void withdraw(const fs::path& out, const CompareSpec& spec, bool is_new) {
  const auto places = places_of(spec);
  if (std::any_of(places.begin(), places.end(),
                  [&](const Place& place) { return fs::exists(out / place.folder / "report" / "report.json"); })) {
    return;
  }
  for (std::size_t i = 0; i < spec.settings.size(); ++i) fs::remove_all(out / setting_folder(i));
  fs::remove(out / spec_file);
  if (is_new) fs::remove(out);
}

// Whether a run failed because its training diverged: that is the setting's own result, and others may go on.
bool is_divergence(const std::string& failure) { return failure.find(training_diverged) != std::string::npos; }

// Returns how training diverged; empty where it did not.
std::string read_training(ComparisonRun& run, const fs::path& file) {
  const DefenseRecord record = read_defense_record(file);
  run.test_accuracy = record.training.facts.test_accuracy;
  run.test_samples = record.test_samples;
  run.defense = record.measured;
  return record.diverged;
}

void read_findings(ComparisonRun& run, const Report& report) {
  if (report.training) run.train_accuracy = report.training->train_accuracy;
  if (const Finding* best = best_reconstruction(report.findings)) {
    run.attack = best->attack;
    run.reconstructed = best->reconstructed;
    run.control = best->control;
    run.confirmed = best->confirmed;
    run.p_value = best->p_value;
  }
  run.training_images = report.data.samples;
  run.control_images = report.data.control_samples;
  for (const auto& finding : report.findings) {
    run.membership_attacks += finding.membership ? 1 : 0;
    run.reconstruction_attacks += finding.reconstructed ? 1 : 0;
  }
  if (const Finding* best = best_membership(report.findings)) {
    run.membership = {best->attack, best->membership->auc, best->membership->tpr_at_fpr_0_01, {}, {}};
  }
  for (const auto& finding : report.findings) {
    if (!finding.membership || !finding.membership->epsilon_lower_bound) continue;
    const EpsilonLowerBound& bound = *finding.membership->epsilon_lower_bound;
    run.membership.epsilon_lower_bound = std::max(run.membership.epsilon_lower_bound.value_or(0), bound.value);
    run.membership.delta = bound.delta;
  }
  if (report.verdict != Verdict::inconclusive) return;
  run.status = Status::inconclusive;
  for (const auto& finding : report.findings) {
    if (finding.status != Status::inconclusive && finding.status != Status::failed) continue;
    run.reason += fmt::format("{}{}: {}", run.reason.empty() ? "" : "; ", finding.attack, finding.reason);
  }
  if (run.reason.empty()) run.reason = "no attack applied";
}

// The results of a run; `data` becomes its report's, which is the same for all runs.
ComparisonRun run_at(const Place& place, const fs::path& out, const std::string& failure, DataFacts& data) {
  ComparisonRun run;
  run.seed = place.seed;
  run.folder = place.folder;
  if (!failure.empty()) {
    run.diverged = is_divergence(failure);
    run.status = run.diverged ? Status::inconclusive : Status::failed;
    run.reason = failure;
    return run;
  }
  const std::string diverged = read_training(run, out / place.folder / "run" / "training.json");
  const Report report = read_report((out / place.folder / "report" / "report.json").string());
  read_findings(run, report);
  data = report.data;
  if (!diverged.empty()) {
    run.diverged = true;
    run.status = Status::inconclusive;
    run.reason = fmt::format("{}: {}; give the defence other options", training_diverged, diverged);
  }
  return run;
}

// Distilled images beside the nearest training images, as pixels.
std::vector<SupportPicture> pictures_of(const fs::path& run) {
  const fs::path file = run / "support-set.npz";
  if (!fs::exists(file)) return {};
  const ModelDescription model = read_model(run / "model.json");
  const TrainingSet training = read_training_set(run / "training-set.npz", model);
  const Tensor images = load_images("npz:" + file.string()).images;
  if (!training.space.is_picture()) return {};
  const Tensor support = images.flatten(1), originals = training.pixels();
  const Nearest nearest = nearest_of(support, originals);
  std::vector<SupportPicture> pictures;
  for (std::int64_t i = 0; i < support.size(0) && pictures.size() < most_support_pictures; ++i) {
    const auto row = nearest.rows[i].item<std::int64_t>();
    pictures.push_back({png_of(support[i], model.input_shape), png_of(originals[row], model.input_shape), row,
                        nearest.distances[i].item<double>()});
  }
  return pictures;
}

std::vector<std::string> limitations() {
  return {
      "Leakage is what these attacks, with these settings, reconstructed: a measured reduction, not a proof of "
      "privacy.",
      "An attacker who knows which defence was used may do better than attacks that do not.",
      "Each count, and the control beside it, is that of the attack that did best on that network.",
      "Settings share training images, control images and, but for students, initial weights within a seed; intervals "
      "over few seeds are wide.",
      "The comparison holds training images and has to be kept as carefully as the data."};
}

// Trains and audits where there is no report yet. Returns why the run at each place failed: empty where it did not.
// Throws UsageError and InputError as a run does: every other run would.
std::vector<std::string> run_missing(const CompareRequest& request, const std::vector<Place>& places,
                                     const Context& context) {
  const std::int64_t at_once = request.jobs > 0 ? request.jobs : context.threads;
  const int threads = std::max(1, context.threads / static_cast<int>(at_once));
  std::vector<ProcessJob> missing;
  std::vector<std::size_t> place_of_job;
  for (std::size_t i = 0; i < places.size(); ++i) {
    ProcessJob job = job_of(request.spec, places[i], request.out, threads);
    if (job.commands.empty()) continue;
    missing.push_back(std::move(job));
    place_of_job.push_back(i);
  }
  // All before the first is trained, which may take hours.
  std::set<std::size_t> settings;
  for (const auto place : place_of_job) settings.insert(places[place].setting);
  for (const auto setting : settings) {
    context.progress->step(static_cast<std::int64_t>(setting), static_cast<std::int64_t>(request.spec.settings.size()),
                           "checking settings");
    request.check(setting);
  }
  std::vector<std::string> failures(places.size());
  run_jobs(missing, at_once, *context.progress, [&](std::size_t index, const ProcessResult& result) {
    const std::string message = fmt::format("{}: {}", missing[index].name, result.message);
    if (result.exit_code == bad_usage && !is_divergence(result.message)) throw UsageError(message);
    if (result.exit_code == bad_input) throw InputError(message);
    failures[place_of_job[index]] = result.message;
  });
  return failures;
}

ComparisonSetting described(const ComparedSetting& setting) {
  const Defense& defense = choose_defense(setting.defense, setting.options).defense;
  ComparisonSetting described;
  described.name = setting.name;
  described.defense = setting.defense;
  described.description = defense.description;
  described.limits = defense.limits;
  described.options = setting.options;
  described.train = setting.own_train;
  return described;
}

// What the reports of all runs say, before it is summarized.
DefenseComparison collected(const CompareRequest& request, const std::vector<Place>& places,
                            const std::vector<std::string>& failures, const Context& context) {
  const CompareSpec& spec = request.spec;
  DefenseComparison comparison;
  comparison.tool = context.tool();
  comparison.data = {spec.data, spec.task, spec.samples, 0, 0, ""};
  comparison.architecture = spec.architecture;
  comparison.seeds = spec.seeds;
  comparison.limitations = limitations();
  for (const auto& setting : spec.settings) comparison.settings.push_back(described(setting));
  for (std::size_t i = 0; i < places.size(); ++i) {
    ComparisonSetting& setting = comparison.settings[places[i].setting];
    setting.runs.push_back(run_at(places[i], request.out, failures[i], comparison.data));
    if (setting.runs.size() == 1 && failures[i].empty()) {
      setting.pictures = pictures_of(request.out / places[i].folder / "run");
    }
  }
  return comparison;
}

}  // namespace

std::vector<std::string> train_words(const CompareSpec& spec, const ComparedSetting& setting, std::int64_t seed,
                                     const fs::path& folder, int threads) {
  auto words = global_words(seed, threads);
  add(words, {"train", "--data", spec.data, "--task", spec.task, "--samples", std::to_string(spec.samples),
              "--architecture", spec.architecture, "--defense", setting.defense});
  for (const auto& [name, value] : setting.options) {
    add(words, {"--defense-option", fmt::format("{}={}", name, value)});
  }
  add(words, setting.train);
  add(words, {"--resume", "--out", (folder / "run").string()});
  return words;
}

std::vector<std::string> audit_words(const CompareSpec& spec, std::int64_t seed, const fs::path& folder, int threads) {
  auto words = global_words(seed, threads);
  add(words, {"audit", (folder / "run").string()});
  add(words, spec.audit);
  add(words, {"--resume", "--out", (folder / "report").string()});
  return words;
}

DefenseComparison run_comparison(const CompareRequest& request, const Context& context) {
  const auto start = std::chrono::steady_clock::now();
  const bool is_new = !fs::exists(request.out);
  const OutputFolder folder(request.out, request.resume);
  const bool held_nothing = holds_nothing(request.out);
  prepare(request);
  const std::vector<Place> places = places_of(request.spec);
  const auto undo = [&] {
    if (held_nothing) withdraw(request.out, request.spec, is_new);
  };
  std::vector<std::string> failures;
  try {
    failures = run_missing(request, places, context);
  } catch (const UsageError&) {
    undo();
    throw;
  } catch (const InputError&) {
    undo();
    throw;
  }
  DefenseComparison comparison = collected(request, places, failures, context);
  summarize(comparison);
  comparison.timing["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  write_file(request.out / "comparison.json", to_json(comparison).dump(1) + "\n");
  write_file(request.out / "comparison.html", render_html(comparison));
  return comparison;
}

}  // namespace afterimage
