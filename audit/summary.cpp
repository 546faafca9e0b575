#include "audit/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <vector>

#include "models/foundations/text.h"
#include "reports/wording.h"

namespace afterimage {
namespace {

constexpr std::size_t longest_line = 110;

std::string text(const Number& value, const char* format = "{:.4g}") {
  return value ? fmt::format(fmt::runtime(format), *value) : "unknown";
}

std::string rate(const Number& value) { return value ? percent(*value) : "unknown"; }

// A figure's name without its capital.
std::string in_sentence(std::string name) {
  if (name.size() > 1 && std::islower(static_cast<unsigned char>(name[1])) != 0) {
    name[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(name[0])));
  }
  return name;
}

std::string text(const std::optional<Rate>& rate) {
  return rate ? fmt::format("{} of {}", rate->count, rate->of) : "unknown";
}

// Items with semicolons between them, in lines that are not too long.
void print_list(const std::string& heading, const std::vector<std::string>& items) {
  std::string line = heading;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string item = " " + items[i] + (i + 1 < items.size() ? ";" : "");
    if (line.size() + item.size() > longest_line) {
      fmt::print("{}\n", line);
      line = " ";
    }
    line += item;
  }
  fmt::print("{}\n", line);
}

}  // namespace

void print_finding(const Finding& finding, const DataFacts& data) {
  fmt::print("{}: {}", on_one_line(finding.attack), name_of(finding.status));
  if (!finding.reason.empty()) fmt::print(" ({})", on_one_line(finding.reason));
  fmt::print("\n");
  if (finding.reconstructed) {
    fmt::print("  reconstructed {} training {} (control {}, p = {}), mean relative L2 {}, mean SSIM {}\n",
               text(finding.reconstructed), worded(data, "images"), text(finding.control),
               text(finding.p_value, "{:.2g}"), text(finding.mean_relative_distance), text(finding.mean_ssim));
    if (finding.relative_loss) {
      fmt::print("  relative loss {} after {} steps\n", text(finding.relative_loss), finding.iterations);
    }
  }
  if (finding.confirmed) {
    fmt::print("  confirmed {} by itself, of which {} are right{}\n", finding.confirmed->count,
               finding.confirmed->right, finding.complete ? worded(data, "; no image is left to find") : "");
  }
  if (finding.membership) {
    fmt::print("  membership: AUC {:.4f}, true positives {} at 1 % and {} at 0.1 % false positives\n",
               finding.membership->auc, rate(finding.membership->tpr_at_fpr_0_01),
               rate(finding.membership->tpr_at_fpr_0_001));
    if (const auto& bound = finding.membership->epsilon_lower_bound; bound && bound->value > 0) {
      fmt::print(
          "  epsilon: at least {:.2f} at delta {:.0e} ({:.1f} % confidence; {:.2f} is the most that could show)\n",
          bound->value, bound->delta, 100 * bound->confidence, bound->ceiling);
    }
  }
}

void print_deviation(const Deviation& deviation) {
  const bool nothing = std::none_of(deviation_figures.begin(), deviation_figures.end(),
                                    [&](const auto& figure) { return figure.of(deviation).has_value(); });
  if (nothing) {
    fmt::print("deviation: unknown ({})\n", on_one_line(deviation.reason));
    return;
  }
  std::vector<std::string> items;
  for (const auto& figure : deviation_figures) {
    items.push_back(fmt::format("{} {}", in_sentence(figure.name), text(figure.of(deviation))));
  }
  print_list("deviation:", items);
}

void print_exposure(const Exposure& exposure, const DataFacts& data) {
  std::string predictors;
  for (const auto& predictor : exposure.predictors) {
    predictors += fmt::format("{}{} {}", predictors.empty() ? "" : ", ", on_one_line(predictor.name),
                              text(predictor.spearman, "{:.2f}"));
  }
  fmt::print("rank correlation of {} exposure to {} with {}\n", worded(data, "an image's"),
             on_one_line(exposure.attack), predictors);
}

void print_summary(const Report& report, const std::string& folder) {
  for (const auto& input : report.inputs) {
    for (const auto& note : input.notes) fmt::print("{}: {}\n", input.role, on_one_line(note));
  }
  for (const auto& finding : report.findings) print_finding(finding, report.data);
  print_deviation(report.deviation);
  if (report.exposure) print_exposure(*report.exposure, report.data);
  if (report.gate) {
    for (const auto& rule : report.gate->rules)
      fmt::print("rule {}: {} ({})\n", on_one_line(rule.rule), name_of(rule.outcome), on_one_line(rule.reason));
  }
  if (const Finding* leak = found_leak(report.findings); leak != nullptr && !report.gate) {
    fmt::print("leak: {} of {} training {} reconstructed by {}{}\n", leak->reconstructed->count,
               leak->reconstructed->of, worded(report.data, "images"), on_one_line(leak->attack),
               report.verdict == Verdict::inconclusive ? "; there may be more" : "");
  } else if (const Finding* members = found_members(report); members != nullptr && !report.gate) {
    fmt::print("leak: {} tells training {} from others (AUC {:.3f})\n", on_one_line(members->attack),
               worded(report.data, "images"), members->membership->auc);
  }
  fmt::print("verdict: {}\n", name_of(report.verdict));
  if (!folder.empty()) fmt::print("{0}/report.html\n{0}/report.json\n", folder);
}

void print_comparison(const DefenseComparison& comparison, const std::string& folder) {
  std::size_t widest = 0;
  for (const auto& setting : comparison.settings) widest = std::max(widest, setting.name.size());
  for (const auto& setting : comparison.settings) {
    fmt::print("{:<{}}  {} {}\n", on_one_line(setting.name), widest, setting.on_front ? "front" : "     ",
               on_one_line(setting.sentence));
  }
  fmt::print("{}\n{}\n", folder + "/comparison.html", folder + "/comparison.json");
}

}  // namespace afterimage
