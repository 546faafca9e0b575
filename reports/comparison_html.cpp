#include <fmt/format.h>
#include <fmt/ranges.h>

#include "reports/comparison.h"
#include "reports/page_parts.h"
#include "reports/wording.h"

namespace afterimage {
namespace {

using kainjow::mustache::data;
using page::number, page::percent, page::row, page::rows, page::texts;

std::string accuracy_text(const ComparisonSetting& setting) {
  if (!setting.test_accuracy) return "not measured";
  if (!setting.test_accuracy_low) return percent(setting.test_accuracy);
  return fmt::format("{} ({} to {})", percent(setting.test_accuracy), percent(setting.test_accuracy_low),
                     percent(setting.test_accuracy_high));
}

std::string p_text(const Number& p) { return p ? fmt::format("{:.2g}", *p) : "none"; }

std::string count_text(const std::optional<Rate>& rate) {
  return rate ? fmt::format("{} of {}", rate->count, rate->of) : "none made";
}

std::string reconstructed_text(const ComparisonSetting& setting) {
  const auto& rate = setting.reconstructed;
  if (!rate) return "none made";
  return fmt::format("{}{} of {} ({} to {})", settled(setting) ? "" : "at least ", rate->count, rate->of,
                     percent(rate->ci95_low), percent(rate->ci95_high));
}

std::string defense_text(const Json& defense) {
  std::string text;
  for (const auto& [name, value] : defense.items()) {
    if (!value.is_number() && !value.is_string()) continue;
    const std::string shown = value.is_number() ? fmt::format("{:.4g}", value.get<double>()) : value.get<std::string>();
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, shown);
  }
  return text;
}

data run_data(const ComparisonRun& run) {
  data entry;
  entry.set("seed", std::to_string(run.seed));
  entry.set("status", name_of(run.status));
  entry.set("folder", run.folder);
  entry.set("accuracy", percent(run.test_accuracy));
  entry.set("reconstructed", count_text(run.reconstructed));
  entry.set("attack", run.attack);
  entry.set("membership", number(run.membership.auc));
  entry.set("has_reason", !run.reason.empty());
  entry.set("reason", run.reason);
  std::string by_defense = defense_text(run.defense);
  if (run.membership.epsilon_lower_bound) {
    by_defense += fmt::format("{}lower bound on epsilon {:.2f} at delta {:.0e}", by_defense.empty() ? "" : ", ",
                              *run.membership.epsilon_lower_bound, run.membership.delta.value_or(0));
  }
  entry.set("has_measured", !by_defense.empty());
  entry.set("measured", by_defense);
  return entry;
}

data picture_data(const SupportPicture& picture) {
  data entry;
  entry.set("support", picture.support_png);
  entry.set("nearest", picture.nearest_png);
  entry.set("index", std::to_string(picture.nearest));
  entry.set("distance", fmt::format("{:.3f}", picture.relative_distance));
  return entry;
}

std::vector<std::string> option_texts(const ComparisonSetting& setting) {
  std::vector<std::string> lines;
  const auto add = [&](const Json& options, const char* before) {
    for (const auto& [name, value] : options.items()) {
      lines.push_back(
          fmt::format("{}{} {}", before, name, value.is_string() ? value.get<std::string>() : value.dump()));
    }
  };
  add(setting.options, "");
  add(setting.train, "train: ");
  return lines;
}

std::string as_sentence(std::string text) {
  if (text.empty()) return text;
  text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text + ".";
}

data setting_data(const ComparisonSetting& setting, std::size_t number_in_table) {
  std::string description = as_sentence(setting.description);
  if (!description.empty()) description.pop_back();
  data entry, runs{data::type::list}, pictures{data::type::list};
  entry.set("number", std::to_string(number_in_table));
  entry.set("name", setting.name);
  entry.set("description", description);
  entry.set("limits_sentence", as_sentence(setting.limits));
  entry.set("options", texts(option_texts(setting)));
  entry.set("sentence", setting.sentence);
  entry.set("on_front", setting.on_front);
  entry.set("accuracy", accuracy_text(setting));
  entry.set("reconstructed", reconstructed_text(setting));
  entry.set("control", count_text(setting.control));
  entry.set("p_value", p_text(setting.p_value));
  entry.set("membership", setting.membership_auc ? fmt::format("{} (p = {})", number(setting.membership_auc),
                                                               p_text(setting.membership_p_value))
                                                 : "none");
  for (const auto& run : setting.runs) runs.push_back(run_data(run));
  for (const auto& picture : setting.pictures) pictures.push_back(picture_data(picture));
  entry.set("runs", runs);
  entry.set("has_pictures", !setting.pictures.empty());
  entry.set("pictures", pictures);
  return entry;
}

std::string seeds_text(const DefenseComparison& comparison) {
  return comparison.seeds.size() == 1 ? fmt::format("seed {}", comparison.seeds.front())
                                      : fmt::format("seeds {}", fmt::join(comparison.seeds, ", "));
}

std::string in_plain_words(const DefenseComparison& comparison) {
  std::vector<std::string> front;
  for (const auto& setting : comparison.settings) {
    if (setting.on_front) front.push_back("\u201c" + setting.name + "\u201d");
  }
  const std::string text = fmt::format(
      "{} settings, each on the same {} training images and under the same audit; leakage is measured against these "
      "images. ",
      comparison.settings.size(), comparison.data.samples);
  if (front.empty()) return worded(comparison.data, text) + "No setting has both an accuracy and a measured leakage.";
  return worded(comparison.data, text) +
         fmt::format("On the Pareto front, where no other setting is better in one and as good in the other: {}.",
                     fmt::join(front, ", "));
}

data facts_data(const DefenseComparison& comparison) {
  return rows({row("Data", comparison.data.source), row("Task", comparison.data.task),
               row(worded(comparison.data, "Training images"), std::to_string(comparison.data.samples)),
               row("Architecture", comparison.architecture), row("Seeds", seeds_text(comparison)),
               row("Tool", page::tool_text(comparison.tool))});
}

}  // namespace

std::string render_html(const DefenseComparison& comparison) {
  data view, settings{data::type::list};
  for (std::size_t i = 0; i < comparison.settings.size(); ++i) {
    settings.push_back(setting_data(comparison.settings[i], i + 1));
  }
  view.set("plain", in_plain_words(comparison));
  view.set("unit", worded(comparison.data, "image"));
  view.set("settings", settings);
  view.set("seeds", seeds_text(comparison));
  view.set("facts", facts_data(comparison));
  view.set("limitations", texts(comparison.limitations));
  view.set("command", comparison.tool.command);
  return page::render(view, "defences compared", "comparison.html", "comparison.js", to_json(comparison));
}

}  // namespace afterimage
