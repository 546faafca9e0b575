#include "reports/html.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "reports/page_files.h"
#include "reports/page_parts.h"
#include "reports/record_table.h"
#include "reports/spectra.h"
#include "reports/wording.h"

namespace afterimage {
namespace {

using kainjow::mustache::data;
using kainjow::mustache::partial;
using page::add_known_rows, page::add_rows, page::row, page::rows;
using page::number, page::percent, page::rate_text, page::RecordTable, page::texts;

constexpr std::size_t shown_samples = 40;  // the others are folded

struct Heading {
  std::string icon, text, colour;  // the last a class of style.css
};

Heading heading_of(const Report& report) {
  const std::string verdict = name_of(report.verdict);
  const Finding* leak = report.gate ? nullptr : found_leak(report.findings);
  if (leak != nullptr) {
    const bool open = report.verdict == Verdict::inconclusive;
    return {
        "!",
        worded(report.data, fmt::format("Leak: {} of {} training images reconstructed{}", leak->reconstructed->count,
                                        leak->reconstructed->of, open ? "; there may be more" : "")),
        name_of(Verdict::fail)};
  }
  if (const Finding* members = report.gate ? nullptr : found_members(report)) {
    return {"!",
            worded(report.data,
                   fmt::format("Leak: training images can be told from others (AUC {:.3f})", members->membership->auc)),
            name_of(Verdict::fail)};
  }
  switch (report.verdict) {
    case Verdict::pass:
      return {"\u2713", "Passed: the policy is satisfied", verdict};
    case Verdict::fail:
      return {"\u2715", "Failed: the policy is violated", verdict};
    case Verdict::inconclusive:
      return {"?", "Inconclusive: the audit gives no clear result", verdict};
    case Verdict::not_gated:
      return {"\u2022", "Measured, without a policy", verdict};
  }
  throw std::logic_error("unknown verdict");
}

std::string control_text(const Finding& finding) {
  return finding.control ? fmt::format("{} of {} control images", finding.control->count, finding.control->of)
                         : "an unknown number of control images";
}

std::string in_plain_words(const Report& report) {
  std::string text;
  if (const Finding* best = best_reconstruction(report.findings)) {
    text = fmt::format(
        "The attack \u201c{}\u201d reconstructed {} of {} training images; by the same measure {}, which were not "
        "trained on, count as reconstructed. ",
        best->attack, best->reconstructed->count, best->reconstructed->of, control_text(*best));
  } else {
    text = "No attack made images that could be compared with the training set. ";
  }
  if (const Finding* best = best_membership(report.findings)) {
    text += fmt::format(
        "Given a training image and a control image, the attack \u201c{}\u201d picks the training image in {} of pairs "
        "(50 % is guessing).",
        best->attack, percent(best->membership->auc));
  }
  return worded(report.data, text);
}

std::string finding_in_plain_words(const Finding& finding) {
  if (finding.status == Status::not_applicable) {
    return "This attack does not apply to this network, which says nothing about what other attacks can find.";
  }
  if (finding.reconstructed) {
    const bool beyond_chance = finding.p_value && *finding.p_value < significant;
    return fmt::format("{} of {} training images were reconstructed, and {}: {}.", finding.reconstructed->count,
                       finding.reconstructed->of, control_text(finding),
                       beyond_chance ? "more than chance explains" : "no more than chance explains");
  }
  if (finding.membership) {
    return fmt::format(
        "This attack makes no images. Given a training image and a control image, it picks the training image in {} of "
        "pairs.",
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

// Rows of figures, with meanings in the words of the data.
data worded_rows(const DataFacts& facts, std::vector<data> figures) {
  for (auto& figure : figures) figure.set("meaning", worded(facts, figure.get("meaning")->string_value()));
  return rows(figures);
}

data bound_row(const EpsilonLowerBound& bound) {
  return row(
      "Lower bound on epsilon",
      fmt::format("{:.2f} at delta {:.0e}, {:.1f} % confidence", bound.value, bound.delta, 100 * bound.confidence),
      fmt::format("no differential privacy with a smaller epsilon made this network; {} guesses can show {:.2f} "
                  "at most, so that a bound near it says nothing about more",
                  bound.guesses, bound.ceiling));
}

std::vector<data> figures_of(const Finding& finding) {
  std::vector<data> figures;
  if (finding.reconstructed) {
    figures.push_back(
        row("Reconstructed", rate_text(*finding.reconstructed), "training images reconstructed; lower is better"));
    figures.push_back(row("Control", finding.control ? rate_text(*finding.control) : "not known",
                          "the same measure on images that were not trained on: what chance gives"));
    add_rows(figures, finding, score_figures);
  }
  if (finding.confirmed) {
    figures.push_back(row("Confirmed",
                          fmt::format("{}, of which {} are right", finding.confirmed->count, finding.confirmed->right),
                          "images that the attack confirmed by itself, without the training set"));
  }
  if (finding.complete) {
    figures.push_back(
        row("Complete", "yes", "the confirmed images alone explain the first layer's change: no others are left"));
  }
  if (finding.membership) {
    add_rows(figures, *finding.membership, membership_figures);
    if (const auto& bound = finding.membership->epsilon_lower_bound) figures.push_back(bound_row(*bound));
  }
  add_known_rows(figures, finding, search_figures);
  if (finding.iterations > 0) figures.push_back(row("Steps", std::to_string(finding.iterations), "of the search"));
  for (const auto& [name, value] : finding.evidence.items()) {
    if (!value.empty())
      figures.push_back(
          row(as_words(name), evidence_text(value), "evidence or setting of the attack (docs/report.md)"));
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

// The tables of a finding's records, each as the part record_table.html takes it.
void add_records(data& entry, const Finding& finding, const DataFacts& facts) {
  const RecordTable table(facts);
  std::vector<data> all;
  for (const auto& sample : finding.samples) {
    if (table.fits(sample)) all.push_back(table.row(sample));
  }
  entry.set("has_records", !all.empty());
  entry.set("has_folded_records", all.size() > shown_samples);
  if (all.empty()) return;
  const auto shown = all.begin() + static_cast<std::ptrdiff_t>(std::min(all.size(), shown_samples));
  entry.set("headings", table.headings());
  entry.set("records", rows({all.begin(), shown}));
  data folded;
  folded.set("records", rows({shown, all.end()}));
  entry.set("folded_records", folded);
  entry.set("folded_records_count", std::to_string(all.end() - shown));
}

data finding_data(const Finding& finding, std::size_t position, std::size_t attacks, const DataFacts& facts) {
  data entry;
  entry.set("attack", finding.attack);
  entry.set("position", std::to_string(position));
  entry.set("status", leaks(finding, attacks) ? "leak" : name_of(finding.status));
  entry.set("reason", finding.reason);
  entry.set("has_reason", !finding.reason.empty());
  entry.set("plain", worded(facts, finding_in_plain_words(finding)));
  const std::vector<data> figures = figures_of(finding);
  entry.set("has_figures", !figures.empty());
  entry.set("figures", worded_rows(facts, figures));
  entry.set("has_distances", !finding.member_distances.empty());
  entry.set("has_roc", finding.membership.has_value());
  data shown{data::type::list}, folded{data::type::list};
  std::size_t pictures = 0;
  for (const auto& sample : finding.samples) {
    if (sample.original_png.empty()) continue;
    (pictures++ < shown_samples ? shown : folded).push_back(picture(sample));
  }
  entry.set("has_pictures", pictures > 0);
  entry.set("pictures", shown);
  entry.set("has_folded", pictures > shown_samples);
  entry.set("folded", folded);
  entry.set("folded_count", std::to_string(pictures > shown_samples ? pictures - shown_samples : 0));
  add_records(entry, finding, facts);
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

data deviation_data(const Deviation& deviation, const DataFacts& facts) {
  std::vector<data> figures;
  add_rows(figures, deviation, deviation_figures);
  return worded_rows(facts, figures);
}

const char* meaning_of(const std::string& predictor) {
  if (predictor == "dual_coefficient") return "how much of the weights' change the image accounts for";
  if (predictor == "margin") return "how clearly the network classifies it as its label says";
  if (predictor == "active_bounds") return "how many of its pixels are black or white";
  if (predictor == "nearest_neighbour") return "relative L2 distance to the most similar other training image";
  if (predictor == "loss") return "its training loss after training";
  return "";
}

data exposure_data(const Exposure& exposure, const DataFacts& facts) {
  data all{data::type::list};
  for (const auto& predictor : exposure.predictors) {
    data entry;
    entry.set("name", predictor.name);
    entry.set("spearman", number(predictor.spearman));
    entry.set("p_value", number(predictor.p_value));
    entry.set("meaning", worded(facts, meaning_of(predictor.name)));
    all.push_back(entry);
  }
  return all;
}

data facts_data(const Report& report) {
  std::vector<data> facts = {row("Architecture", report.model.architecture),
                             row("Parameterization", report.model.parameterization),
                             row("Parameters", std::to_string(report.model.parameters)),
                             row("Input", fmt::format("{}", fmt::join(report.model.input_shape, " x "))),
                             row("Outputs", std::to_string(report.model.outputs)),
                             row("Data", report.data.source),
                             row("Task", report.data.task),
                             row(worded(report.data, "Training images"), std::to_string(report.data.samples)),
                             row(worded(report.data, "Control images"),
                                 fmt::format("{} from {}", report.data.control_samples, report.data.control_source))};
  if (report.training) add_rows(facts, *report.training, training_figures);
  facts.push_back(row("Tool", fmt::format("{}, seed {}", page::tool_text(report.tool), report.tool.seed)));
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
  const Heading heading = heading_of(report);
  data view;
  view.set("verdict", heading.colour);
  view.set("headline", heading.text);
  view.set("icon", heading.icon);
  view.set("plain", in_plain_words(report));
  view.set("has_rules", report.gate.has_value());
  view.set("rules", rules_data(report));
  data findings{data::type::list};
  for (std::size_t i = 0; i < report.findings.size(); ++i)
    findings.push_back(finding_data(report.findings[i], i, attacks_with_images(report.findings), report.data));
  view.set("findings", findings);
  view.set("deviation", deviation_data(report.deviation, report.data));
  view.set("deviation_reason", report.deviation.reason);
  view.set("has_exposure", report.exposure.has_value());
  if (report.exposure) {
    view.set("exposure", exposure_data(*report.exposure, report.data));
    view.set("exposure_attack", report.exposure->attack);
    view.set("exposure_reason", report.exposure->reason);
  }
  view.set("has_spectra", !report.model.connectivity.empty());
  view.set("spectra", page::spectra_data(report.model.connectivity));
  view.set("facts", facts_data(report));
  view.set("inputs", inputs_data(report));
  view.set("knows", texts(report.threat_model.knows));
  view.set("does_not_know", texts(report.threat_model.does_not_know));
  view.set("limitations", texts(report.limitations));
  view.set("command", report.tool.command);
  view.set("unit", worded(report.data, "image"));
  for (const std::string part : {"picture", "record_row", "record_table"}) {
    view.set(part, partial([part] { return std::string(page_file(part + ".html")); }));
  }
  return page::render(view, heading.text, "report.html", "script.js", to_json(report));
}

}  // namespace afterimage
