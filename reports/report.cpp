#include "reports/report.h"

#include <fmt/format.h>

#include <cmath>

#include "models/foundations/error.h"
#include "reports/json_parts.h"
#include "reports/json_reader.h"

namespace afterimage {
namespace {

using json::Names, json::name_in, json::Reader, json::statuses;
using json::number, json::or_null, json::to_json, json::utf8;
using json::read_confirmed, json::read_data, json::read_membership, json::read_rate, json::read_texts, json::read_tool;

constexpr const char* schema = "afterimage.report/1";

const Names<Verdict> verdicts = {{Verdict::pass, "pass"},
                                 {Verdict::fail, "fail"},
                                 {Verdict::inconclusive, "inconclusive"},
                                 {Verdict::not_gated, "not-gated"}};
const Names<Outcome> outcomes = {
    {Outcome::pass, "pass"}, {Outcome::fail, "fail"}, {Outcome::inconclusive, "inconclusive"}};

Json numbers(const std::vector<double>& values) {
  Json list = Json::array();
  for (const double value : values) list.push_back(number(value));
  return list;
}

Json to_json(const Sample& sample) {
  return {{"index", sample.index},
          {"label", sample.label},
          {"distance", number(sample.distance)},
          {"relative_distance", number(sample.relative_distance)},
          {"ssim", number(sample.ssim)},
          {"coefficient", number(sample.coefficient)},
          {"reconstructed", sample.reconstructed},
          {"original_png", sample.original_png},
          {"reconstruction_png", sample.reconstruction_png}};
}

Json to_json(const Exposure& exposure) {
  Json predictors = Json::array();
  for (const auto& predictor : exposure.predictors) {
    Json values = Json::array();
    for (const double value : predictor.values) values.push_back(number(value));
    predictors.push_back({{"name", predictor.name},
                          {"spearman", number(predictor.spearman)},
                          {"p_value", number(predictor.p_value)},
                          {"values", values}});
  }
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

Sample read_sample(const Reader& in) {
  return {in["index"].whole(),
          in["label"].text(),
          in["distance"].real_or_null(),
          in["relative_distance"].real_or_null(),
          in["ssim"].real_or_null(),
          in["coefficient"].real_or_null(),
          in["reconstructed"].boolean(),
          in["original_png"].text_or_empty(),
          in["reconstruction_png"].text_or_empty()};
}

std::vector<double> read_numbers(const Reader& in) {
  std::vector<double> values;
  for (const auto& item : in.list()) values.push_back(item.real_or_null().value_or(std::nan("")));
  return values;
}

Finding read_finding(const Reader& in) {
  Finding finding;
  finding.attack = in["attack"].text();
  finding.status = in["status"].one_of(statuses);
  finding.reason = in["reason"].text_or_empty();
  finding.iterations = in["iterations"].whole();
  finding.loss_initial = in["loss_initial"].real_or_null();
  finding.loss_final = in["loss_final"].real_or_null();
  finding.relative_loss = in["relative_loss"].real_or_null();
  finding.reconstructed = read_rate(in.present("reconstructed"));
  finding.control = read_rate(in.present("control"));
  finding.confirmed = read_confirmed(in["confirmed"]);
  finding.membership = read_membership(in.present("membership"));
  finding.p_value = in["p_value"].real_or_null();
  finding.mean_relative_distance = in["mean_relative_distance"].real_or_null();
  finding.mean_ssim = in["mean_ssim"].real_or_null();
  finding.threshold = in["threshold"].real_or_null();
  finding.member_distances = read_numbers(in["member_distances"]);
  finding.control_distances = read_numbers(in["control_distances"]);
  finding.evidence = in["evidence"].object_or_empty();
  for (const auto& sample : in["samples"].list()) finding.samples.push_back(read_sample(sample));
  return finding;
}

ModelFacts read_model(const Reader& in) {
  ModelFacts model{in["architecture"].text(),
                   in["parameterization"].text_or_empty(),
                   in["parameters"].whole(),
                   {},
                   in["outputs"].whole()};
  for (const auto& size : in["input_shape"].list()) model.input_shape.push_back(size.whole());
  return model;
}

Deviation read_deviation(const Reader& in) {
  return {in["kernel_distance"].real_or_null(),
          in["initial_to_infinite"].real_or_null(),
          in["final_to_infinite"].real_or_null(),
          in["linearization_error"].real_or_null(),
          in["linearization_error_control"].real_or_null(),
          in["relative_parameter_change"].real_or_null(),
          in["residual_at_truth"].real_or_null(),
          in["residual_at_truth_final"].real_or_null(),
          in["parameters_per_unknown"].real_or_null(),
          in["reason"].text_or_empty()};
}

Exposure read_exposure(const Reader& in) {
  Exposure exposure{in["attack"].text(), {}, in["reason"].text_or_empty()};
  for (const auto& predictor : in["predictors"].list()) {
    exposure.predictors.push_back({predictor["name"].text(), predictor["spearman"].real_or_null(),
                                   predictor["p_value"].fraction_or_null(), read_numbers(predictor["values"])});
  }
  return exposure;
}

Gate read_gate(const Reader& in) {
  Gate gate{in["policy"].raw(), {}};
  for (const auto& rule : in["rules"].list()) {
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

Json to_json(const Finding& finding) {
  Json samples = Json::array();
  for (const auto& sample : finding.samples) samples.push_back(to_json(sample));
  return {{"attack", finding.attack},
          {"status", name_of(finding.status)},
          {"reason", utf8(finding.reason)},
          {"iterations", finding.iterations},
          {"loss_initial", number(finding.loss_initial)},
          {"loss_final", number(finding.loss_final)},
          {"relative_loss", number(finding.relative_loss)},
          {"reconstructed", or_null(finding.reconstructed)},
          {"control", or_null(finding.control)},
          {"confirmed", or_null(finding.confirmed)},
          {"membership", or_null(finding.membership)},
          {"p_value", number(finding.p_value)},
          {"mean_relative_distance", number(finding.mean_relative_distance)},
          {"mean_ssim", number(finding.mean_ssim)},
          {"threshold", number(finding.threshold)},
          {"member_distances", numbers(finding.member_distances)},
          {"control_distances", numbers(finding.control_distances)},
          {"evidence", finding.evidence},
          {"samples", samples}};
}

Json to_json(const Report& report) {
  Json inputs = Json::array(), findings = Json::array();
  for (const auto& input : report.inputs) {
    inputs.push_back({{"role", input.role},
                      {"name", utf8(input.name)},
                      {"format", input.format},
                      {"bytes", input.bytes},
                      {"sha256", input.sha256}});
  }
  for (const auto& finding : report.findings) findings.push_back(to_json(finding));
  const auto& deviation = report.deviation;
  Json training = nullptr;
  if (report.training) {
    training = {{"final_loss", number(report.training->final_loss)},
                {"train_accuracy", number(report.training->train_accuracy)},
                {"test_accuracy", number(report.training->test_accuracy)}};
  }
  return {
      {"schema", schema},
      {"tool", to_json(report.tool)},
      {"verdict", name_of(report.verdict)},
      {"inputs", inputs},
      {"model",
       {{"architecture", report.model.architecture},
        {"parameterization", report.model.parameterization},
        {"parameters", report.model.parameters},
        {"input_shape", report.model.input_shape},
        {"outputs", report.model.outputs}}},
      {"data", to_json(report.data)},
      {"threat_model", {{"knows", report.threat_model.knows}, {"does_not_know", report.threat_model.does_not_know}}},
      {"training", training},
      {"deviation",
       {{"kernel_distance", number(deviation.kernel_distance)},
        {"initial_to_infinite", number(deviation.initial_to_infinite)},
        {"final_to_infinite", number(deviation.final_to_infinite)},
        {"linearization_error", number(deviation.linearization_error)},
        {"linearization_error_control", number(deviation.linearization_error_control)},
        {"relative_parameter_change", number(deviation.relative_parameter_change)},
        {"residual_at_truth", number(deviation.residual_at_truth)},
        {"residual_at_truth_final", number(deviation.residual_at_truth_final)},
        {"parameters_per_unknown", number(deviation.parameters_per_unknown)},
        {"reason", deviation.reason}}},
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
  report.tool = read_tool(in["tool"]);
  report.verdict = in["verdict"].one_of(verdicts);
  for (const auto& input : in["inputs"].list_that_is_there()) {
    const auto bytes = input["bytes"].whole();
    if (bytes < 0) input["bytes"].fail("may not be negative");
    report.inputs.push_back({input["role"].text(), input["name"].text(), input["format"].text(),
                             static_cast<std::uint64_t>(bytes), input["sha256"].text()});
  }
  report.model = read_model(in["model"]);
  report.data = read_data(in["data"]);
  report.threat_model = {read_texts(in["threat_model"]["knows"]), read_texts(in["threat_model"]["does_not_know"])};
  if (const auto training = in["training"]; !training.is_null()) {
    report.training = TrainingFacts{training["final_loss"].real_or_null(), training["train_accuracy"].real_or_null(),
                                    training["test_accuracy"].real_or_null()};
  }
  report.deviation = read_deviation(in["deviation"]);
  for (const auto& finding : in["findings"].list_that_is_there()) {
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
