#include "audit/summary.h"

#include <fmt/format.h>

#include "models/foundations/text.h"

namespace afterimage {
namespace {

std::string text(const Number& value, const char* format = "{:.4g}") {
  return value ? fmt::format(fmt::runtime(format), *value) : "unknown";
}

std::string text(const std::optional<Rate>& rate) {
  return rate ? fmt::format("{} of {}", rate->count, rate->of) : "unknown";
}

}  // namespace

void print_finding(const Finding& finding) {
  fmt::print("{}: {}", on_one_line(finding.attack), name_of(finding.status));
  if (!finding.reason.empty()) fmt::print(" ({})", on_one_line(finding.reason));
  fmt::print("\n");
  if (finding.reconstructed) {
    fmt::print("  reconstructed {} training images (control {}, p = {}), mean relative L2 {}, mean SSIM {}\n",
               text(finding.reconstructed), text(finding.control), text(finding.p_value, "{:.2g}"),
               text(finding.mean_relative_distance), text(finding.mean_ssim));
    if (finding.relative_loss) {
      fmt::print("  relative loss {} after {} steps\n", text(finding.relative_loss), finding.iterations);
    }
  }
  if (finding.confirmed) {
    fmt::print("  the attack itself was sure of {}, of which {} are right\n", finding.confirmed->count,
               finding.confirmed->right);
  }
  if (finding.membership) {
    fmt::print("  membership: AUC {:.4f}, true positives {} at 1 % and {} at 0.1 % false positives\n",
               finding.membership->auc, text(finding.membership->tpr_at_fpr_0_01),
               text(finding.membership->tpr_at_fpr_0_001));
  }
}

void print_deviation(const Deviation& deviation) {
  if (!deviation.relative_parameter_change) {  // nothing could be measured
    fmt::print("deviation: unknown ({})\n", on_one_line(deviation.reason));
    return;
  }
  fmt::print(
      "deviation: kernel distance {} (to infinite width: {} at the start, {} at the end), linearization error {} "
      "(control {}), relative parameter change {}\n"
      "  residual at the training images {} (tangents at both ends), {} (trained end); parameters per unknown {}\n",
      text(deviation.kernel_distance), text(deviation.initial_to_infinite), text(deviation.final_to_infinite),
      text(deviation.linearization_error), text(deviation.linearization_error_control),
      text(deviation.relative_parameter_change), text(deviation.residual_at_truth),
      text(deviation.residual_at_truth_final), text(deviation.parameters_per_unknown));
}

void print_exposure(const Exposure& exposure) {
  std::string predictors;
  for (const auto& predictor : exposure.predictors) {
    predictors += fmt::format("{}{} {}", predictors.empty() ? "" : ", ", on_one_line(predictor.name),
                              text(predictor.spearman, "{:.2f}"));
  }
  fmt::print("exposure to {}, rank correlation with: {}\n", on_one_line(exposure.attack), predictors);
}

void print_summary(const Report& report, const std::string& folder) {
  for (const auto& finding : report.findings) print_finding(finding);
  print_deviation(report.deviation);
  if (report.exposure) print_exposure(*report.exposure);
  if (report.gate) {
    for (const auto& rule : report.gate->rules)
      fmt::print("rule {}: {} ({})\n", on_one_line(rule.rule), name_of(rule.outcome), on_one_line(rule.reason));
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
