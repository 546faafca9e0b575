#include "reports/report.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/foundations/error.h"
#include "reports/json_parts.h"
#include "reports/spectra.h"

namespace afterimage {
namespace {

using json::add_figures, json::number, json::numbers, json::or_null, json::to_json, json::utf8;
using json::Names, json::name_in, json::Reader;
using json::read_figures, json::read_numbers, json::read_rate, json::read_texts;

constexpr const char* schema = "afterimage.report/1";

const Names<Verdict> verdicts = {{Verdict::pass, "pass"},
                                 {Verdict::fail, "fail"},
                                 {Verdict::inconclusive, "inconclusive"},
                                 {Verdict::not_gated, "not-gated"}};
const Names<Outcome> outcomes = {
    {Outcome::pass, "pass"}, {Outcome::fail, "fail"}, {Outcome::inconclusive, "inconclusive"}};

Json to_json(const Sample& sample) {
  Json document = {{"index", sample.index}, {"label", sample.label}};
  add_figures(document, sample, sample_figures);
  document["reconstructed"] = sample.reconstructed;
  document["original_png"] = sample.original_png;
  document["reconstruction_png"] = sample.reconstruction_png;
  if (!sample.original.empty()) document["original"] = numbers(sample.original);
  if (!sample.reconstruction.empty()) document["reconstruction"] = numbers(sample.reconstruction);
  return document;
}

Json to_json(const Predictor& predictor) {
  Json document = {{"name", predictor.name}};
  add_figures(document, predictor, predictor_figures);
  document["values"] = numbers(predictor.values);
  return document;
}

Json to_json(const Exposure& exposure) {
  Json predictors = Json::array();
  for (const auto& predictor : exposure.predictors) predictors.push_back(to_json(predictor));
  return {{"attack", exposure.attack}, {"predictors", predictors}, {"reason", exposure.reason}};
}

Json to_json(const Gate& gate) {
  Json rules = Json::array();
  for (const auto& rule : gate.rules) {
    rules.push_back({{"rule", rule.rule},
                     {"measured", number(rule.measured)},
                     {"limit", number(rule.limit)},
                     {"outcome", name_of(rule.outcome)},
                     {"reason", rule.reason}});
  }
  return {{"policy", gate.policy}, {"rules", rules}};
}

Json to_json(const TrainingFacts& training) {
  Json document;
  add_figures(document, training, training_figures);
  return document;
}

Sample read_sample(const Reader& in) {
  Sample sample;
  sample.index = in["index"].whole();
  sample.label = in["label"].text();
  read_figures(in, sample, sample_figures);
  sample.reconstructed = in["reconstructed"].boolean();
  sample.original_png = in["original_png"].text_or_empty();
  sample.reconstruction_png = in["reconstruction_png"].text_or_empty();
  if (const auto values = in.find("original")) sample.original = read_numbers(*values);
  if (const auto values = in.find("reconstruction")) sample.reconstruction = read_numbers(*values);
  return sample;
}

Finding read_finding(const Reader& in) {
  constexpr const char* complete_before_0_2 = "all_found";  // evidence of complete findings in older reports
  Finding finding;
  finding.attack = in["attack"].text();
  finding.status = in["status"].one_of(status_names);
  finding.reason = in["reason"].text_or_empty();
  finding.iterations = in["iterations"].whole();
  read_figures(in, finding, search_figures);
  finding.reconstructed = read_rate(in.required("reconstructed"));
  finding.control = read_rate(in.required("control"));
  finding.confirmed = json::read_confirmed(in["confirmed"]);
  finding.membership = json::read_membership(in.required("membership"));
  read_figures(in, finding, score_figures);
  finding.member_distances = read_numbers(in["member_distances"]);
  finding.control_distances = read_numbers(in["control_distances"]);
  finding.evidence = in["evidence"].object_or_empty();
  const auto complete = in.find("complete");
  finding.complete = complete ? complete->boolean() : finding.evidence.contains(complete_before_0_2);
  for (const auto& sample : in["samples"].list_or_empty()) finding.samples.push_back(read_sample(sample));
  return finding;
}

ModelFacts read_model(const Reader& in) {
  ModelFacts model{in["architecture"].text(),
                   in["parameterization"].text_or_empty(),
                   in["parameters"].whole(),
                   {},
                   in["outputs"].whole()};
  for (const auto& size : in["input_shape"].list_or_empty()) model.input_shape.push_back(size.whole());
  if (const auto matrices = in.find("connectivity")) model.connectivity = read_hidden_matrices(*matrices);
  return model;
}

Exposure read_exposure(const Reader& in) {
  Exposure exposure{in["attack"].text(), {}, in["reason"].text_or_empty()};
  for (const auto& item : in["predictors"].list_or_empty()) {
    Predictor predictor;
    predictor.name = item["name"].text();
    read_figures(item, predictor, predictor_figures);
    predictor.values = read_numbers(item["values"]);
    exposure.predictors.push_back(std::move(predictor));
  }
  return exposure;
}

Gate read_gate(const Reader& in) {
  Gate gate{in["policy"].raw(), {}};
  for (const auto& rule : in["rules"].list_or_empty()) {
    gate.rules.push_back({rule["rule"].text(), rule["measured"].real_or_null(), rule["limit"].real_or_null(),
                          rule["outcome"].one_of(outcomes), rule["reason"].text_or_empty()});
  }
  return gate;
}

}  // namespace

const Finding* best_membership(const std::vector<Finding>& findings) {
  const Finding* best = nullptr;
  for (const auto& finding : findings) {
    if (finding.membership && (best == nullptr || finding.membership->auc > best->membership->auc)) best = &finding;
  }
  return best;
}

std::string name_of(Verdict verdict) { return name_in(verdicts, verdict); }
std::string name_of(Outcome outcome) { return name_in(outcomes, outcome); }

Json to_json(const Deviation& deviation) {
  Json document;
  add_figures(document, deviation, deviation_figures);
  document["reason"] = deviation.reason;
  return document;
}

Json to_json(const Finding& finding) {
  Json samples = Json::array();
  for (const auto& sample : finding.samples) samples.push_back(to_json(sample));
  Json document = {{"attack", finding.attack},
                   {"status", name_of(finding.status)},
                   {"reason", utf8(finding.reason)},
                   {"iterations", finding.iterations}};
  add_figures(document, finding, search_figures);
  document["reconstructed"] = or_null(finding.reconstructed);
  document["control"] = or_null(finding.control);
  document["confirmed"] = or_null(finding.confirmed);
  document["complete"] = finding.complete;
  document["membership"] = or_null(finding.membership);
  add_figures(document, finding, score_figures);
  document["member_distances"] = numbers(finding.member_distances);
  document["control_distances"] = numbers(finding.control_distances);
  document["evidence"] = finding.evidence;
  document["samples"] = std::move(samples);
  return document;
}

Json to_json(const ModelFacts& model) {
  Json document = {{"architecture", model.architecture},
                   {"parameterization", model.parameterization},
                   {"parameters", model.parameters},
                   {"input_shape", model.input_shape},
                   {"outputs", model.outputs}};
  if (!model.connectivity.empty()) document["connectivity"] = to_json(model.connectivity);
  return document;
}

Json to_json(const Report& report) {
  Json inputs = Json::array(), findings = Json::array();
  for (const auto& input : report.inputs) {
    inputs.push_back({{"role", input.role},
                      {"name", utf8(input.name)},
                      {"format", input.format},
                      {"bytes", input.bytes},
                      {"sha256", input.sha256}});
    if (!input.key.empty()) inputs.back()["key"] = utf8(input.key);
    if (!input.notes.empty()) {
      Json& notes = inputs.back()["notes"] = Json::array();
      for (const auto& note : input.notes) notes.push_back(utf8(note));
    }
  }
  for (const auto& finding : report.findings) findings.push_back(to_json(finding));
  return {
      {"schema", schema},
      {"tool", to_json(report.tool)},
      {"verdict", name_of(report.verdict)},
      {"inputs", inputs},
      {"model", to_json(report.model)},
      {"data", to_json(report.data)},
      {"threat_model", {{"knows", report.threat_model.knows}, {"does_not_know", report.threat_model.does_not_know}}},
      {"training", report.training ? to_json(*report.training) : Json(nullptr)},
      {"deviation", to_json(report.deviation)},
      {"findings", findings},
      {"exposure", report.exposure ? to_json(*report.exposure) : Json(nullptr)},
      {"gate", report.gate ? to_json(*report.gate) : Json(nullptr)},
      {"limitations", report.limitations},
      {"timing", report.timing}};
}

const Finding* best_reconstruction(const std::vector<Finding>& findings) {
  const Finding* best = nullptr;
  for (const auto& finding : findings) {
    if (finding.reconstructed && (best == nullptr || finding.reconstructed->rate > best->reconstructed->rate))
      best = &finding;
  }
  return best;
}

bool leaks(const Finding& finding, std::size_t attacks) {
  if (!finding.reconstructed || finding.reconstructed->count == 0) return false;
  // Of images that were not trained on some are like training images by chance: one in three confirmed ones was.
  constexpr double mostly = 0.9;
  if (finding.confirmed && finding.confirmed->right > 0 &&
      static_cast<double>(finding.confirmed->right) >= mostly * static_cast<double>(finding.confirmed->count)) {
    return true;
  }
  return finding.p_value && *finding.p_value * static_cast<double>(attacks) < significant;
}

std::size_t attacks_with_images(const std::vector<Finding>& findings) {
  return static_cast<std::size_t>(
      std::count_if(findings.begin(), findings.end(), [](const Finding& f) { return f.reconstructed.has_value(); }));
}

const Finding* found_leak(const std::vector<Finding>& findings) {
  const Finding* best = nullptr;
  const std::size_t attacks = attacks_with_images(findings);
  for (const auto& finding : findings) {
    if (!leaks(finding, attacks)) continue;
    if (best == nullptr || finding.reconstructed->rate > best->reconstructed->rate) best = &finding;
  }
  return best;
}

const Finding* found_members(const Report& report) {
  constexpr double certain = 1e-3;
  const Finding* best = best_membership(report.findings);
  if (best == nullptr || report.data.samples < 1 || report.data.control_samples < 1) return nullptr;
  const double p = auc_p_value(best->membership->auc, report.data.samples, report.data.control_samples);
  return p * static_cast<double>(report.findings.size()) < certain ? best : nullptr;
}

Finding finding_from_json(const Json& document, const std::string& name) {
  return read_finding(Reader(document, name));
}

Report report_from_json(const Json& document, const std::string& name) {
  const Reader in(document, name);
  if (!document.is_object() || in["schema"].text_or_empty() != schema) {
    throw InputError(
        fmt::format("{}: not a report that this version reads; its schema has to be \"{}\"", name, schema));
  }
  Report report;
  report.tool = json::read_tool(in["tool"]);
  report.verdict = in["verdict"].one_of(verdicts);
  for (const auto& input : in["inputs"].list()) {
    const auto bytes = input["bytes"].whole();
    if (bytes < 0) input["bytes"].fail("may not be negative");
    report.inputs.push_back({input["role"].text(), input["name"].text(), input["format"].text(),
                             static_cast<std::uint64_t>(bytes), input["sha256"].text()});
    if (const auto key = input.find("key")) report.inputs.back().key = key->text();
    if (const auto notes = input.find("notes")) report.inputs.back().notes = read_texts(*notes);
  }
  report.model = read_model(in["model"]);
  report.data = json::read_data(in["data"]);
  report.threat_model = {read_texts(in["threat_model"]["knows"]), read_texts(in["threat_model"]["does_not_know"])};
  if (const auto training = in["training"]; !training.is_null()) {
    read_figures(training, report.training.emplace(), training_figures);
  }
  const auto deviation = in["deviation"];
  read_figures(deviation, report.deviation, deviation_figures);
  report.deviation.reason = deviation["reason"].text_or_empty();
  for (const auto& finding : in["findings"].list()) {
    report.findings.push_back(read_finding(finding));
    const std::string& attack = report.findings.back().attack;
    if (std::count_if(report.findings.begin(), report.findings.end(),
                      [&](const Finding& other) { return other.attack == attack; }) > 1) {
      finding["attack"].fail("names an attack that has a finding already");
    }
  }
  if (const auto exposure = in["exposure"]; !exposure.is_null()) report.exposure = read_exposure(exposure);
  if (const auto gate = in["gate"]; !gate.is_null()) report.gate = read_gate(gate);
  report.limitations = read_texts(in["limitations"]);
  report.timing = in["timing"].object_or_empty();
  return report;
}

}  // namespace afterimage
