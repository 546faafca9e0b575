#include "reports/html.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "reports/page_files.h"
#include "reports/page_parts.h"

namespace afterimage {
namespace {

using kainjow::mustache::data;
using kainjow::mustache::partial;
using page::number, page::percent, page::rate_text, page::row, page::rows, page::texts;

constexpr std::size_t shown_pictures = 40;  // the rest is folded away

std::string headline(Verdict verdict) {
  switch (verdict) {
    case Verdict::pass:
      return "Passed: the policy is satisfied";
    case Verdict::fail:
      return "Failed: the policy is violated";
    case Verdict::inconclusive:
      return "Inconclusive: the audit cannot tell";
    case Verdict::not_gated:
      return "Measured, without a policy";
  }
  throw std::logic_error("unknown verdict");
}

const char* icon(Verdict verdict) {
  switch (verdict) {
    case Verdict::pass:
      return "\u2713";
    case Verdict::fail:
      return "\u2715";
    case Verdict::inconclusive:
      return "?";
    case Verdict::not_gated:
      return "\u2022";
  }
  throw std::logic_error("unknown verdict");
}

std::string control_text(const Finding& finding) {
  return finding.control ? fmt::format("{} of {} images", finding.control->count, finding.control->of)
                         : "an unknown number of images";
}

std::string in_plain_words(const Report& report) {
  std::string text;
  if (const Finding* best = best_reconstruction(report.findings)) {
    text = fmt::format(
        "From the weights alone, {} of {} training images were reconstructed by the attack \u201c{}\u201d; by the "
        "same measure {} that the network never saw were. ",
        best->reconstructed->count, best->reconstructed->of, best->attack, control_text(*best));
  } else {
    text = "No attack made images that could be compared with the training set. ";
  }
  if (const Finding* best = best_membership(report.findings)) {
    text += fmt::format(
        "The attack \u201c{}\u201d tells a training image from another in {} of such pairs (50 % is guessing).",
        best->attack, percent(best->membership->auc));
  }
  return text;
}

std::string finding_in_plain_words(const Finding& finding) {
  if (finding.status == Status::not_applicable)
    return "This attack does not apply here, which says nothing about what others could find.";
  if (finding.reconstructed) {
    const bool beyond_chance = finding.p_value && *finding.p_value < 0.05;
    return fmt::format("{} of {} training images came back recognisably, against {} from the control set{}.",
                       finding.reconstructed->count, finding.reconstructed->of, control_text(finding),
                       beyond_chance ? "; that is no accident" : "; that could be chance");
  }
  if (finding.membership) {
    return fmt::format(
        "This attack makes no pictures; it says of an image whether it was trained on, and is right in {} of pairs.",
        percent(finding.membership->auc));
  }
  return "";
}

std::string evidence_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number()) return fmt::format("{:.4g}", value.get<double>());
  if (!value.is_array()) return value.dump(-1, ' ', true, Json::error_handler_t::replace);
  constexpr std::size_t most = 8;
  std::string text;
  for (std::size_t i = 0; i < std::min(most, value.size()); ++i) text += (i > 0 ? ", " : "") + evidence_text(value[i]);
  return value.size() <= most ? text : fmt::format("{}, \u2026 ({} values)", text, value.size());
}

// "singular_values" as a heading.
std::string as_words(std::string name) {
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

std::vector<data> figures_of(const Finding& finding) {
  std::vector<data> figures;
  if (finding.reconstructed) {
    figures.push_back(
        row("Reconstructed", rate_text(*finding.reconstructed), "training images that came back; lower is better"));
    figures.push_back(row("Control", finding.control ? rate_text(*finding.control) : "not known",
                          "the same measure on images never trained on: what chance gives"));
    figures.push_back(
        row("p-value", number(finding.p_value), "how likely chance alone would do as well (Fisher's exact test)"));
    figures.push_back(row("Threshold", number(finding.threshold),
                          "relative L2 distance under which an image counts, from half of the control set"));
    figures.push_back(row("Mean relative distance", number(finding.mean_relative_distance),
                          "0: exact, 1: as far as an empty picture"));
    figures.push_back(
        row("Mean SSIM", number(finding.mean_ssim), "structural similarity: 1 is the same picture, 0 unrelated"));
  }
  if (finding.confirmed) {
    figures.push_back(row("Sure without the data",
                          fmt::format("{}, of which {} right", finding.confirmed->count, finding.confirmed->right),
                          "images that the attack itself was sure of, without having seen the training set"));
  }
  if (finding.membership) {
    const Membership& membership = *finding.membership;
    figures.push_back(
        row("Membership AUC", number(membership.auc), "0.5: guessing, 1: members are always told from others"));
    figures.push_back(row("Found at 1 % false alarms", percent(membership.tpr_at_fpr_0_01),
                          "members found while 1 of 100 others is accused"));
    figures.push_back(row("Found at 0.1 % false alarms", percent(membership.tpr_at_fpr_0_001),
                          "members found while 1 of 1000 others is accused; takes 1000 control images"));
    figures.push_back(
        row("Advantage", number(membership.advantage), "true less false positives at the best threshold"));
  }
  if (finding.relative_loss) {
    figures.push_back(row("Unexplained", percent(*finding.relative_loss),
                          "share of the weights' change that the candidates leave unexplained"));
  }
  if (finding.iterations > 0) figures.push_back(row("Steps", std::to_string(finding.iterations), "of the search"));
  for (const auto& [name, value] : finding.evidence.items()) {
    if (!value.empty()) figures.push_back(row(as_words(name), evidence_text(value), "measured by the attack itself"));
  }
  return figures;
}

data picture(const Sample& sample) {
  data entry;
  entry.set("original", sample.original_png);
  entry.set("reconstruction", sample.reconstruction_png);
  entry.set("has_reconstruction", !sample.reconstruction_png.empty());
  entry.set("index", std::to_string(sample.index));
  entry.set("label", sample.label);
  entry.set("distance", sample.relative_distance ? fmt::format("{:.3f}", *sample.relative_distance) : "none");
  entry.set("ssim", sample.ssim ? fmt::format("{:.3f}", *sample.ssim) : "none");
  entry.set("exposed", sample.reconstructed);
  return entry;
}

data finding_data(const Finding& finding, std::size_t position) {
  data entry;
  entry.set("attack", finding.attack);
  entry.set("position", std::to_string(position));
  entry.set("status", name_of(finding.status));
  entry.set("reason", finding.reason);
  entry.set("has_reason", !finding.reason.empty());
  entry.set("plain", finding_in_plain_words(finding));
  const std::vector<data> figures = figures_of(finding);
  entry.set("has_figures", !figures.empty());
  entry.set("figures", rows(figures));
  entry.set("has_distances", !finding.member_distances.empty());
  entry.set("has_roc", finding.membership.has_value());
  data shown{data::type::list}, folded{data::type::list};
  std::size_t pictures = 0;
  for (const auto& sample : finding.samples) {
    if (sample.original_png.empty()) continue;
    (pictures++ < shown_pictures ? shown : folded).push_back(picture(sample));
  }
  entry.set("has_pictures", pictures > 0);
  entry.set("pictures", shown);
  entry.set("has_folded", pictures > shown_pictures);
  entry.set("folded", folded);
  entry.set("folded_count", std::to_string(pictures > shown_pictures ? pictures - shown_pictures : 0));
  return entry;
}

data rules_data(const Report& report) {
  data all{data::type::list};
  for (const auto& rule : report.gate ? report.gate->rules : std::vector<RuleResult>{}) {
    data entry;
    entry.set("rule", rule.rule);
    entry.set("measured", rule.measured ? number(rule.measured) : "none");
    entry.set("limit", rule.limit ? number(rule.limit) : "none");
    entry.set("outcome", name_of(rule.outcome));
    entry.set("reason", rule.reason);
    all.push_back(entry);
  }
  return all;
}

data deviation_data(const Deviation& d) {
  return rows(
      {row("Kernel distance", number(d.kernel_distance),
           "0: the tangent kernel did not move in training, 1: it has nothing in common; small means that tangent "
           "attacks see well"),
       row("Start to infinite width", number(d.initial_to_infinite), "kernel at the start against the analytic one"),
       row("End to infinite width", number(d.final_to_infinite), "kernel after training against the analytic one"),
       row("Linearization error", number(d.linearization_error),
           "how far outputs on training images are from the linearized network's"),
       row("Linearization error, control", number(d.linearization_error_control),
           "the same on images never trained on"),
       row("Parameter change", number(d.relative_parameter_change), "norm of the change over the norm of the start"),
       row("Residual at the truth", number(d.residual_at_truth),
           "share of the change that even the true images leave unexplained, tangents at both ends: bounds the attack"),
       row("Residual, trained end", number(d.residual_at_truth_final),
           "the same with tangents at the trained weights alone"),
       row("Parameters per unknown", number(d.parameters_per_unknown),
           "parameters over pixels times images; above 1 the weights can hold every pixel")});
}

const char* meaning_of(const std::string& predictor) {
  if (predictor == "dual_coefficient") return "how much of the change of the weights the image accounts for";
  if (predictor == "margin") return "how far on the right side of the decision the network puts it";
  if (predictor == "active_bounds") return "how many of its pixels are black or white";
  if (predictor == "nearest_neighbour") return "how far it is from the most similar other training image";
  if (predictor == "loss") return "how badly the network fits it after training";
  return "";
}

data exposure_data(const Exposure& exposure) {
  data all{data::type::list};
  for (const auto& predictor : exposure.predictors) {
    data entry;
    entry.set("name", predictor.name);
    entry.set("spearman", number(predictor.spearman));
    entry.set("p_value", number(predictor.p_value));
    entry.set("meaning", meaning_of(predictor.name));
    all.push_back(entry);
  }
  return all;
}

data facts_data(const Report& report) {
  std::vector<data> facts = {
      row("Architecture", report.model.architecture),
      row("Parameterization", report.model.parameterization),
      row("Parameters", std::to_string(report.model.parameters)),
      row("Input", fmt::format("{}", fmt::join(report.model.input_shape, " x "))),
      row("Outputs", std::to_string(report.model.outputs)),
      row("Data", report.data.source),
      row("Task", report.data.task),
      row("Training images", std::to_string(report.data.samples)),
      row("Control images", fmt::format("{} from {}", report.data.control_samples, report.data.control_source))};
  if (report.training) {
    facts.push_back(row("Final loss", number(report.training->final_loss)));
    facts.push_back(row("Accuracy on training images", number(report.training->train_accuracy)));
    facts.push_back(row("Accuracy on other images", number(report.training->test_accuracy)));
  }
  facts.push_back(row(
      "Tool", fmt::format("{} {} with LibTorch {} on {}, {} threads, seed {}", report.tool.name, report.tool.version,
                          report.tool.libtorch, report.tool.device, report.tool.threads, report.tool.seed)));
  return rows(facts);
}

data inputs_data(const Report& report) {
  data all{data::type::list};
  for (const auto& input : report.inputs) {
    data entry;
    entry.set("role", input.role);
    entry.set("name", input.name);
    entry.set("bytes", std::to_string(input.bytes));
    entry.set("sha256", input.sha256);
    all.push_back(entry);
  }
  return all;
}

}  // namespace

std::string render_html(const Report& report) {
  data view;
  view.set("verdict", name_of(report.verdict));
  view.set("headline", headline(report.verdict));
  view.set("icon", icon(report.verdict));
  view.set("plain", in_plain_words(report));
  view.set("has_rules", report.gate.has_value());
  view.set("rules", rules_data(report));
  data findings{data::type::list};
  for (std::size_t i = 0; i < report.findings.size(); ++i) findings.push_back(finding_data(report.findings[i], i));
  view.set("findings", findings);
  view.set("deviation", deviation_data(report.deviation));
  view.set("deviation_reason", report.deviation.reason);
  view.set("has_exposure", report.exposure.has_value());
  if (report.exposure) {
    view.set("exposure", exposure_data(*report.exposure));
    view.set("exposure_attack", report.exposure->attack);
    view.set("exposure_reason", report.exposure->reason);
  }
  view.set("facts", facts_data(report));
  view.set("inputs", inputs_data(report));
  view.set("knows", texts(report.threat_model.knows));
  view.set("does_not_know", texts(report.threat_model.does_not_know));
  view.set("limitations", texts(report.limitations));
  view.set("command", report.tool.command);
  view.set("picture", partial([] { return std::string(page_file("picture.html")); }));
  return page::render(view, headline(report.verdict), "report.html", "script.js", to_json(report));
}

}  // namespace afterimage
