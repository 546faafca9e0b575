#include "reports/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "models/foundations/error.h"
#include "models/foundations/text.h"
#include "reports/json_parts.h"
#include "reports/wording.h"

namespace afterimage {
namespace {

std::optional<Rate> added(const std::vector<ComparisonRun>& runs, std::optional<Rate> ComparisonRun::*rate) {
  std::int64_t count = 0, of = 0;
  for (const auto& run : runs) {
    if (!(run.*rate)) continue;
    count += (run.*rate)->count;
    of += (run.*rate)->of;
  }
  return of > 0 ? std::optional(rate_of(count, of)) : std::nullopt;
}

template <class Figure>
std::vector<double> known_values(const std::vector<ComparisonRun>& runs, Figure figure) {
  std::vector<double> known;
  for (const auto& run : runs) {
    if (const Number& value = figure(run)) known.push_back(*value);
  }
  return known;
}

void summarize_accuracy(ComparisonSetting& setting) {
  const auto accuracies = known_values(setting.runs, [](const ComparisonRun& run) { return run.test_accuracy; });
  if (accuracies.empty()) return;
  if (accuracies.size() > 1) {
    const MeanInterval interval = mean_interval(accuracies);
    setting.test_accuracy = interval.mean;
    setting.test_accuracy_low = std::max(0.0, interval.low);
    setting.test_accuracy_high = std::min(1.0, interval.high);
    return;
  }
  setting.test_accuracy = accuracies.front();
  for (const auto& run : setting.runs) {
    if (!run.test_accuracy || run.test_samples < 1) continue;
    const auto right = std::llround(*run.test_accuracy * static_cast<double>(run.test_samples));
    const Rate rate = rate_of(right, run.test_samples);
    setting.test_accuracy_low = rate.ci95_low;
    setting.test_accuracy_high = rate.ci95_high;
  }
}

// Bonferroni: times the number of ways to choose the best attack of each run.
double corrected(double p, const ComparisonSetting& setting, std::int64_t ComparisonRun::*attacks) {
  for (const auto& run : setting.runs) p *= static_cast<double>(std::max<std::int64_t>(1, run.*attacks));
  return std::min(1.0, p);
}

void summarize_membership(ComparisonSetting& setting) {
  const auto aucs = known_values(setting.runs, [](const ComparisonRun& run) { return run.membership.auc; });
  if (aucs.empty()) return;
  const double mean = std::accumulate(aucs.begin(), aucs.end(), 0.0) / static_cast<double>(aucs.size());
  setting.membership_auc = mean;
  std::int64_t members = 0, control = 0;
  for (const auto& run : setting.runs) {
    if (!run.membership.auc) continue;
    members = run.training_images;
    control = run.control_images;
  }
  if (members < 1 || control < 1) return;
  const double p = auc_p_value(mean, members, control, static_cast<std::int64_t>(aucs.size()));
  setting.membership_p_value = corrected(p, setting, &ComparisonRun::membership_attacks);
}

double leakage(const ComparisonSetting& setting) { return setting.reconstructed->rate; }

// The first run whose training diverged; null where none did.
const ComparisonRun* diverged_run(const ComparisonSetting& setting) {
  for (const auto& run : setting.runs) {
    if (run.diverged) return &run;
  }
  return nullptr;
}

// Without an attack that made images the leakage is not known, and of a network that did not learn it means nothing.
bool is_measured(const ComparisonSetting& setting) {
  return setting.test_accuracy && setting.reconstructed && diverged_run(setting) == nullptr;
}

bool dominates(const ComparisonSetting& a, const ComparisonSetting& b) {
  if (!settled(a)) return false;
  const bool no_worse = *a.test_accuracy >= *b.test_accuracy && leakage(a) <= leakage(b);
  return no_worse && (*a.test_accuracy > *b.test_accuracy || leakage(a) < leakage(b));
}

std::string chance_in_words(double p) {
  return p > significant ? fmt::format(", no more than chance explains (p = {:.2g})", p)
                         : fmt::format(", more than chance explains (p = {:.1g})", p);
}

// "0 of 100 training images were reconstructed (undefended 97), no more than chance explains (p = 0.8)"
std::string leakage_in_words(const ComparisonSetting& setting, const ComparisonSetting* undefended) {
  if (!setting.reconstructed) return "no attack made images that could be compared with the training images";
  std::string text = fmt::format("{} of {} training images were reconstructed", setting.reconstructed->count,
                                 setting.reconstructed->of);
  if (undefended != nullptr && undefended != &setting && undefended->reconstructed) {
    text += fmt::format(" (undefended {})", undefended->reconstructed->count);
  }
  if (setting.p_value) text += chance_in_words(*setting.p_value);
  return text;
}

// Attacks that were cut off or did not converge may have missed images.
std::string doubt_in_words(const std::vector<ComparisonRun>& runs) {
  const auto open = std::count_if(runs.begin(), runs.end(),
                                  [](const ComparisonRun& run) { return run.status == Status::inconclusive; });
  if (open == 0) return "";
  const std::string which = runs.size() == 1 ? "the audit" : fmt::format("{} of {} audits", open, runs.size());
  return fmt::format("; {} ended inconclusive, so more may leak than was found", which);
}

std::string in_words(const ComparisonSetting& setting, const ComparisonSetting* undefended) {
  if (!setting.test_accuracy && !setting.reconstructed) {
    return setting.runs.empty() ? "No run of this setting exists."
                                : fmt::format("Not measured: {}", setting.runs.front().reason);
  }
  if (const ComparisonRun* run = diverged_run(setting)) {
    return fmt::format("Not measured, seed {}: {}.", run->seed, run->reason);
  }
  std::string text = setting.test_accuracy ? fmt::format("Test accuracy {}", percent(*setting.test_accuracy))
                                           : std::string("The test accuracy was not measured");
  if (undefended != nullptr && undefended != &setting && undefended->test_accuracy && setting.test_accuracy) {
    text += fmt::format(" (undefended {})", percent(*undefended->test_accuracy));
  }
  text += "; " + leakage_in_words(setting, undefended);
  if (setting.membership_auc) {
    text += fmt::format("; the best attack picks the training image in {} of pairs of a training and a control image",
                        percent(*setting.membership_auc));
    if (setting.membership_p_value) text += chance_in_words(*setting.membership_p_value);
  }
  for (const auto& run : setting.runs) {
    if (const auto claim = refuted_claim(run); !claim.empty()) text += "; " + claim;
  }
  return text + doubt_in_words(setting.runs) + ".";
}

Json to_json(const BestMembership& membership) {
  Json document = {{"attack", membership.attack}};
  json::add_figures(document, membership, best_membership_figures);
  return document;
}

Json to_json(const ComparisonRun& run) {
  Json document = {{"seed", run.seed},
                   {"folder", run.folder},
                   {"status", name_of(run.status)},
                   {"reason", json::utf8(run.reason)},
                   {"diverged", run.diverged}};
  json::add_figures(document, run, run_utility_figures);
  document["test_samples"] = run.test_samples;
  document["attack"] = run.attack;
  document["reconstructed"] = json::or_null(run.reconstructed);
  document["control"] = json::or_null(run.control);
  document["confirmed"] = json::or_null(run.confirmed);
  json::add_figures(document, run, run_leakage_figures);
  document["membership"] = to_json(run.membership);
  document["defense"] = run.defense;
  return document;
}

Json to_json(const SupportPicture& picture) {
  return {{"support_png", picture.support_png},
          {"nearest_png", picture.nearest_png},
          {"nearest", picture.nearest},
          {"relative_distance", picture.relative_distance}};
}

Json to_json(const ComparisonSetting& setting) {
  Json runs = Json::array(), pictures = Json::array();
  for (const auto& run : setting.runs) runs.push_back(to_json(run));
  for (const auto& picture : setting.pictures) pictures.push_back(to_json(picture));
  Json interval = nullptr;
  if (setting.test_accuracy_low && setting.test_accuracy_high) {
    interval = {*setting.test_accuracy_low, *setting.test_accuracy_high};
  }
  Json document = {{"name", json::utf8(setting.name)},
                   {"defense", setting.defense},
                   {"description", setting.description},
                   {"limits", setting.limits},
                   {"options", setting.options},
                   {"test_accuracy", {{"mean", json::number(setting.test_accuracy)}, {"ci95", interval}}},
                   {"reconstructed", json::or_null(setting.reconstructed)},
                   {"control", json::or_null(setting.control)}};
  if (!setting.train.empty()) document["train"] = setting.train;
  json::add_figures(document, setting, setting_figures);
  document["on_front"] = setting.on_front;
  document["sentence"] = json::utf8(setting.sentence);
  document["runs"] = std::move(runs);
  document["pictures"] = std::move(pictures);
  return document;
}

ComparisonRun read_run(const json::Reader& in) {
  ComparisonRun run;
  run.seed = in["seed"].whole();
  run.folder = in["folder"].text();
  run.status = in["status"].one_of(status_names);
  run.reason = in["reason"].text_or_empty();
  if (const auto diverged = in.find("diverged")) run.diverged = diverged->boolean();
  json::read_figures(in, run, run_utility_figures);
  run.test_samples = in["test_samples"].whole();
  run.attack = in["attack"].text_or_empty();
  run.reconstructed = json::read_rate(in["reconstructed"]);
  run.control = json::read_rate(in["control"]);
  run.confirmed = json::read_confirmed(in["confirmed"]);
  json::read_figures(in, run, run_leakage_figures);
  const auto membership = in["membership"];
  run.membership.attack = membership["attack"].text_or_empty();
  json::read_figures(membership, run.membership, best_membership_figures);
  run.defense = in["defense"].object_or_empty();
  return run;
}

ComparisonSetting read_setting(const json::Reader& in) {
  ComparisonSetting setting;
  setting.name = in["name"].text();
  setting.defense = in["defense"].text();
  setting.description = in["description"].text_or_empty();
  setting.limits = in["limits"].text_or_empty();
  setting.options = in["options"].object_or_empty();
  setting.train = in["train"].object_or_empty();
  const auto accuracy = in["test_accuracy"];
  setting.test_accuracy = accuracy["mean"].fraction_or_null();
  if (const auto interval = accuracy["ci95"]; !interval.is_null()) {
    const auto [low, high] = interval.two();
    setting.test_accuracy_low = low;
    setting.test_accuracy_high = high;
  }
  setting.reconstructed = json::read_rate(in["reconstructed"]);
  setting.control = json::read_rate(in["control"]);
  json::read_figures(in, setting, setting_figures);
  setting.on_front = in["on_front"].boolean();
  setting.sentence = in["sentence"].text_or_empty();
  for (const auto& run : in["runs"].list_or_empty()) setting.runs.push_back(read_run(run));
  for (const auto& picture : in["pictures"].list_or_empty()) {
    setting.pictures.push_back({picture["support_png"].text(), picture["nearest_png"].text(),
                                picture["nearest"].whole(), picture["relative_distance"].real()});
  }
  return setting;
}

}  // namespace

std::string refuted_claim(const ComparisonRun& run) {
  const auto& [attack, auc, tpr, bound, delta] = run.membership;
  const auto claimed = [&](const char* key) {
    const auto value = run.defense.find(key);
    return value != run.defense.end() && value->is_number() ? Number(value->get<double>()) : Number();
  };
  const Number epsilon = claimed("epsilon"), at = claimed("delta");
  if (!bound || !delta || !epsilon || !at || *at > *delta || *bound <= *epsilon) return "";
  return fmt::format(
      "the bound on epsilon of seed {}, {:.2f} at delta {:.0e}, is above the {:.2f} that the defence claims: "
      "one of the two is wrong",
      run.seed, *bound, *delta, *epsilon);
}

bool settled(const ComparisonSetting& setting) {
  return std::all_of(setting.runs.begin(), setting.runs.end(),
                     [](const ComparisonRun& run) { return run.status == Status::ok; });
}

void summarize(DefenseComparison& comparison) {
  const ComparisonSetting* undefended = nullptr;
  for (auto& setting : comparison.settings) {
    summarize_accuracy(setting);
    setting.reconstructed = added(setting.runs, &ComparisonRun::reconstructed);
    setting.control = added(setting.runs, &ComparisonRun::control);
    if (setting.reconstructed && setting.control) {
      const double p = fisher_p_value(*setting.reconstructed, *setting.control);
      setting.p_value = corrected(p, setting, &ComparisonRun::reconstruction_attacks);
    }
    summarize_membership(setting);
    if (setting.defense == "none" && undefended == nullptr) undefended = &setting;
  }
  for (auto& setting : comparison.settings) {
    setting.on_front = is_measured(setting) &&
                       std::none_of(comparison.settings.begin(), comparison.settings.end(),
                                    [&](const auto& other) { return is_measured(other) && dominates(other, setting); });
    setting.sentence = worded(comparison.data, in_words(setting, undefended));
  }
}

Json to_json(const DefenseComparison& comparison) {
  Json settings = Json::array();
  for (const auto& setting : comparison.settings) settings.push_back(to_json(setting));
  return {{"schema", comparison_schema},
          {"tool", json::to_json(comparison.tool)},
          {"data", json::to_json(comparison.data)},
          {"architecture", comparison.architecture},
          {"seeds", comparison.seeds},
          {"settings", settings},
          {"limitations", comparison.limitations},
          {"timing", comparison.timing}};
}

DefenseComparison comparison_from_json(const Json& document, const std::string& name) {
  const json::Reader in(document, name);
  if (!document.is_object() || in["schema"].text_or_empty() != comparison_schema) {
    throw InputError(fmt::format("{}: not a comparison that this version reads; its schema has to be \"{}\"", name,
                                 comparison_schema));
  }
  DefenseComparison comparison;
  comparison.tool = json::read_tool(in["tool"]);
  comparison.data = json::read_data(in["data"]);
  comparison.architecture = in["architecture"].text();
  for (const auto& seed : in["seeds"].list_or_empty()) comparison.seeds.push_back(seed.whole());
  for (const auto& setting : in["settings"].list_or_empty()) comparison.settings.push_back(read_setting(setting));
  comparison.limitations = json::read_texts(in["limitations"]);
  comparison.timing = in["timing"].object_or_empty();
  return comparison;
}

}  // namespace afterimage
