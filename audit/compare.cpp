#include "audit/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

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
constexpr const char* spec_file = "spec.json";  // what a comparison writes first

struct Place {
  std::size_t setting = 0;
  std::int64_t seed = 0;
  std::string folder;  // below the comparison's own
};

std::vector<std::string> global_words(std::int64_t seed, int threads) {
  return {"--quiet", "--threads", std::to_string(threads), "--seed", std::to_string(seed)};
}

// Settings have any names; folders have numbers.
std::string setting_folder(std::size_t setting) { return fmt::format("setting-{}", setting + 1); }

std::vector<Place> places_of(const CompareSpec& spec) {
  std::vector<Place> places;
  for (std::size_t i = 0; i < spec.settings.size(); ++i) {
    for (const auto seed : spec.seeds) places.push_back({i, seed, fmt::format("{}/seed-{}", setting_folder(i), seed)});
  }
  return places;
}

// The commands that a run still needs; none when its report is there. model.json is what `train` writes last.
Job job_of(const CompareSpec& spec, const Place& place, const fs::path& out, int threads) {
  const fs::path folder = out / place.folder;
  Job job{fmt::format("{}, seed {}", spec.settings[place.setting].name, place.seed), {}, folder / "log.txt"};
  if (fs::exists(folder / "report" / "report.json")) return job;
  fs::create_directories(folder);
  if (!fs::exists(folder / "run" / "model.json")) {
    fs::remove_all(folder / "run");
    job.commands.push_back(train_words(spec, spec.settings[place.setting], place.seed, folder, threads));
  }
  job.commands.push_back(audit_words(spec, place.seed, folder, threads));
  return job;
}

// Nothing, or a spec that was being written when a program was killed.
bool holds_nothing(const fs::path& folder) {
  return std::all_of(fs::directory_iterator(folder), fs::directory_iterator(),
                     [](const auto& entry) { return whole_name(entry.path()) == spec_file; });
}

// A folder that holds another comparison's runs, or files of anything else, is not gone on with.
void prepare(const CompareRequest& request) {
  const fs::path kept = request.out / spec_file;
  const std::string text = request.spec.document.dump(1) + "\n";
  if (!fs::exists(kept) && !holds_nothing(request.out)) {
    throw UsageError(
        fmt::format("--out {}: holds files but no {}, so no comparison began there; give a new or empty folder",
                    request.out.string(), spec_file));
  }
  if (request.resume && fs::exists(kept) && read_file(kept, largest_record) != text) {
    throw UsageError(
        fmt::format("--resume: {} holds a comparison of another spec; name a new folder, or give the same spec",
                    request.out.string()));
  }
  write_file(kept, text);
}

// What was refused leaves nothing in a folder that held nothing before, unless some run had come to its end.
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

Number number_in(const Json& document, const char* key) {
  const auto found = document.find(key);
  return found != document.end() && found->is_number() ? Number(found->get<double>()) : std::nullopt;
}

void read_training(ComparisonRun& run, const fs::path& file) {
  const Json record = parse_json(read_file(file, largest_record), file.string());
  run.test_accuracy = number_in(record, "test_accuracy");
  run.test_samples = record.value("test_samples", std::int64_t{0});
  const Json defense = record.value("defense", Json::object());
  for (const char* part : {"distilled", "evidence"}) {
    const Json measured = defense.value(part, Json::object());
    for (const auto& [name, value] : measured.items()) run.defense[name] = value;
  }
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
    run.membership_attack = best->attack;
    run.membership_auc = best->membership->auc;
    run.membership_tpr_at_fpr_0_01 = best->membership->tpr_at_fpr_0_01;
  }
  if (report.verdict != Verdict::inconclusive) return;
  run.status = Status::inconclusive;
  for (const auto& finding : report.findings) {
    if (finding.status != Status::inconclusive && finding.status != Status::failed) continue;
    run.reason += fmt::format("{}{}: {}", run.reason.empty() ? "" : "; ", finding.attack, finding.reason);
  }
  if (run.reason.empty()) run.reason = "no attack applied";
}

// What a run came to; `data` becomes what its report says of the data, which is the same for all.
ComparisonRun run_at(const Place& place, const fs::path& out, const std::string& failure, DataFacts& data) {
  ComparisonRun run;
  run.seed = place.seed;
  run.folder = place.folder;
  if (!failure.empty()) {
    run.status = Status::failed;
    run.reason = failure;
    return run;
  }
  read_training(run, out / place.folder / "run" / "training.json");
  const Report report = read_report((out / place.folder / "report" / "report.json").string());
  read_findings(run, report);
  data = report.data;
  return run;
}

// Distilled images beside the nearest training images, as pixels.
std::vector<SupportPicture> pictures_of(const fs::path& run) {
  const fs::path file = run / "support-set.npz";
  if (!fs::exists(file)) return {};
  const ModelDescription model = read_model(run / "model.json");
  const TrainingSet training = read_training_set(run / "training-set.npz", model);
  const Tensor images = load_images("npz:" + file.string()).images;
  if (!is_picture(model.input_shape)) return {};
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
      "Leakage is what these attacks, with these settings, reconstructed: a measured reduction, never a proof of "
      "privacy.",
      "An attacker who knows which defence was used may do better than attacks that do not.",
      "Each count is of the attack that did best on that network, and so is the control beside it.",
      "Settings share training images, control images and initial weights within a seed; intervals over few seeds are "
      "wide.",
      "The comparison holds training images and has to be kept as carefully as the data."};
}

}  // namespace

std::vector<std::string> train_words(const CompareSpec& spec, const ComparedSetting& setting, std::int64_t seed,
                                     const fs::path& folder, int threads) {
  auto words = global_words(seed, threads);
  for (const auto& word : {std::string("train"), std::string("--data"), spec.data, std::string("--task"), spec.task,
                           std::string("--samples"), std::to_string(spec.samples), std::string("--architecture"),
                           spec.architecture, std::string("--defense"), setting.defense}) {
    words.push_back(word);
  }
  for (const auto& [name, value] : setting.options) {
    words.emplace_back("--defense-option");
    words.push_back(fmt::format("{}={}", name, value));
  }
  words.insert(words.end(), spec.train.begin(), spec.train.end());
  for (const auto& word : {std::string("--resume"), std::string("--out"), (folder / "run").string()})
    words.push_back(word);
  return words;
}

std::vector<std::string> audit_words(const CompareSpec& spec, std::int64_t seed, const fs::path& folder, int threads) {
  auto words = global_words(seed, threads);
  words.emplace_back("audit");
  words.push_back((folder / "run").string());
  words.insert(words.end(), spec.audit.begin(), spec.audit.end());
  for (const auto& word : {std::string("--resume"), std::string("--out"), (folder / "report").string()})
    words.push_back(word);
  return words;
}

DefenseComparison run_comparison(const CompareRequest& request, const Context& context) {
  const auto start = std::chrono::steady_clock::now();
  const CompareSpec& spec = request.spec;
  const bool is_new = !fs::exists(request.out);
  const OutputFolder folder(request.out, request.resume);
  const bool held_nothing = holds_nothing(request.out);
  prepare(request);
  const std::int64_t jobs = request.jobs > 0 ? request.jobs : context.threads;
  const int threads = std::max(1, context.threads / static_cast<int>(jobs));
  const std::vector<Place> places = places_of(spec);
  std::vector<std::string> failures(places.size());
  std::vector<Job> open;
  std::vector<std::size_t> place_of_job;
  for (std::size_t i = 0; i < places.size(); ++i) {
    Job job = job_of(spec, places[i], request.out, threads);
    if (job.commands.empty()) continue;
    open.push_back(std::move(job));
    place_of_job.push_back(i);
  }
  bool refused = false;
  const auto ended = [&](std::size_t index, const JobResult& result) {
    const std::string& name = open[index].name;
    refused = result.exit_code == bad_usage || result.exit_code == bad_input;
    if (result.exit_code == bad_usage) throw UsageError(fmt::format("{}: {}", name, result.message));
    if (result.exit_code == bad_input) throw InputError(fmt::format("{}: {}", name, result.message));
    failures[place_of_job[index]] = result.message;
  };
  try {
    run_jobs(open, jobs, *context.progress, ended);
  } catch (...) {
    if (refused && held_nothing) withdraw(request.out, spec, is_new);
    throw;
  }

  DefenseComparison comparison;
  comparison.tool = context.tool();
  comparison.data = {spec.data, spec.task, spec.samples, 0, 0, ""};
  comparison.architecture = spec.architecture;
  comparison.seeds = spec.seeds;
  comparison.limitations = limitations();
  for (const auto& setting : spec.settings) {
    const Defense& defense = checked_defense(setting.defense, setting.options);
    ComparisonSetting row;
    row.name = setting.name;
    row.defense = setting.defense;
    row.description = defense.description();
    row.limits = defense.limits();
    row.options = setting.options;
    comparison.settings.push_back(std::move(row));
  }
  for (std::size_t i = 0; i < places.size(); ++i) {
    ComparisonSetting& setting = comparison.settings[places[i].setting];
    setting.runs.push_back(run_at(places[i], request.out, failures[i], comparison.data));
    if (setting.runs.size() == 1 && failures[i].empty()) {
      setting.pictures = pictures_of(request.out / places[i].folder / "run");
    }
  }
  summarize(comparison);
  comparison.timing["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  write_file(request.out / "comparison.json", to_json(comparison).dump(1) + "\n");
  write_file(request.out / "comparison.html", render_html(comparison));
  return comparison;
}

}  // namespace afterimage
