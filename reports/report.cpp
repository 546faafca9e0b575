#include "reports/report.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "models/base/error.h"
#include "models/base/text.h"
#include "reports/json_parts.h"

namespace afterimage {
namespace {

using json::number, json::or_null, json::to_json, json::utf8;

constexpr const char* schema = "afterimage.report/1";

template <class Enum>
using Names = std::vector<std::pair<Enum, const char*>>;

const Names<Verdict> verdicts = {{Verdict::pass, "pass"},
                                 {Verdict::fail, "fail"},
                                 {Verdict::inconclusive, "inconclusive"},
                                 {Verdict::not_gated, "not-gated"}};
const Names<Status> statuses = {{Status::ok, "ok"},
                                {Status::not_applicable, "not-applicable"},
                                {Status::inconclusive, "inconclusive"},
                                {Status::failed, "failed"}};
const Names<Outcome> outcomes = {
    {Outcome::pass, "pass"}, {Outcome::fail, "fail"}, {Outcome::inconclusive, "inconclusive"}};

template <class Enum>
std::string name_in(const Names<Enum>& names, Enum value) {
  for (const auto& [known, name] : names) {
    if (known == value) return name;
  }
  throw std::logic_error("unknown value");
}

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

// A place in a document, which knows its own path for error messages.
class Reader {
 public:
  Reader(const Json& value, std::string file, std::string path = "")
      : value_(value), file_(std::move(file)), path_(std::move(path)) {}

  Reader operator[](const char* key) const {
    if (!value_.is_object()) fail("has to be an object");
    static const Json missing = nullptr;
    const auto found = value_.find(key);
    return {found == value_.end() ? missing : *found, file_, path_.empty() ? key : path_ + "." + key};
  }
  bool is_null() const { return value_.is_null(); }
  const Json& raw() const { return value_; }

  std::string text() const {
    if (!value_.is_string()) fail("has to be a string");
    return value_.get<std::string>();
  }
  std::string text_or_empty() const { return is_null() ? "" : text(); }
  double real() const {
    if (!value_.is_number()) fail("has to be a number");
    return value_.get<double>();
  }
  Number real_or_null() const { return is_null() ? Number() : Number(real()); }
  double fraction() const {
    if (!(real() >= 0 && real() <= 1)) fail("has to be a fraction from 0 to 1");
    return real();
  }
  Number fraction_or_null() const { return is_null() ? Number() : Number(fraction()); }
  std::int64_t whole() const {
    if (!value_.is_number_integer()) fail("has to be a whole number");
    constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
    if (value_.is_number_unsigned() && value_.get<std::uint64_t>() > most) fail("is too large");
    return value_.get<std::int64_t>();
  }
  bool boolean() const {
    if (!value_.is_boolean()) fail("has to be true or false");
    return value_.get<bool>();
  }
  std::vector<Reader> list() const {
    std::vector<Reader> items;
    if (is_null()) return items;
    if (!value_.is_array()) fail("has to be a list");
    for (std::size_t i = 0; i < value_.size(); ++i)
      items.emplace_back(value_[i], file_, fmt::format("{}[{}]", path_, i));
    return items;
  }
  std::pair<double, double> two() const {
    const auto items = list();
    if (items.size() != 2) fail("has to be two numbers");
    return {items[0].real(), items[1].real()};
  }
  template <class Enum>
  Enum one_of(const Names<Enum>& names) const {
    for (const auto& [value, name] : names) {
      if (value_.is_string() && value_.get<std::string>() == name) return value;
    }
    std::string known;
    for (const auto& [value, name] : names) known += (known.empty() ? "" : ", ") + std::string(name);
    fail("has to be one of " + known);
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw InputError(fmt::format("{}: {} {}", file_, path_.empty() ? "the document" : printable(path_), what));
  }

 private:
  const Json& value_;
  std::string file_, path_;
};

std::optional<Rate> read_rate(const Reader& in) {
  if (in.is_null()) return std::nullopt;
  const auto [low, high] = in["ci95"].two();
  const Rate rate{in["count"].whole(), in["of"].whole(), in["rate"].real(), low, high};
  if (rate.count < 0 || rate.of < 1 || rate.count > rate.of) in.fail("has to count from 0 up to all images");
  const double expected = static_cast<double>(rate.count) / static_cast<double>(rate.of);
  if (std::abs(rate.rate - expected) > 1e-9) in["rate"].fail("has to be count divided by of");
  if (!(0 <= low && low <= rate.rate && rate.rate <= high && high <= 1)) in["ci95"].fail("has to enclose the rate");
  return rate;
}

std::optional<Membership> read_membership(const Reader& in) {
  if (in.is_null()) return std::nullopt;
  Membership membership{in["auc"].fraction(),
                        in["tpr_at_fpr_0_01"].fraction_or_null(),
                        in["tpr_at_fpr_0_001"].fraction_or_null(),
                        in["advantage"].fraction(),
                        {}};
  for (const auto& corner : in["roc"].list()) membership.roc.push_back(corner.two());
  return membership;
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

std::vector<std::string> read_texts(const Reader& in) {
  std::vector<std::string> texts;
  for (const auto& item : in.list()) texts.push_back(item.text());
  return texts;
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
  finding.reconstructed = read_rate(in["reconstructed"]);
  finding.control = read_rate(in["control"]);
  if (const auto confirmed = in["confirmed"]; !confirmed.is_null()) {
    finding.confirmed = Confirmed{confirmed["count"].whole(), confirmed["right"].whole()};
  }
  finding.membership = read_membership(in["membership"]);
  finding.p_value = in["p_value"].real_or_null();
  finding.mean_relative_distance = in["mean_relative_distance"].real_or_null();
  finding.mean_ssim = in["mean_ssim"].real_or_null();
  finding.threshold = in["threshold"].real_or_null();
  finding.member_distances = read_numbers(in["member_distances"]);
  finding.control_distances = read_numbers(in["control_distances"]);
  if (const auto evidence = in["evidence"]; evidence.raw().is_object()) finding.evidence = evidence.raw();
  for (const auto& sample : in["samples"].list()) finding.samples.push_back(read_sample(sample));
  return finding;
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
std::string name_of(Status status) { return name_in(statuses, status); }
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
  const auto tool = in["tool"];
  report.tool = {tool["name"].text(),
                 tool["version"].text(),
                 tool["libtorch"].text(),
                 tool["device"].text(),
                 static_cast<int>(tool["threads"].whole()),
                 tool["seed"].whole(),
                 tool["command"].text()};
  report.verdict = in["verdict"].one_of(verdicts);
  for (const auto& input : in["inputs"].list()) {
    const auto bytes = input["bytes"].whole();
    if (bytes < 0) input["bytes"].fail("may not be negative");
    report.inputs.push_back({input["role"].text(), input["name"].text(), input["format"].text(),
                             static_cast<std::uint64_t>(bytes), input["sha256"].text()});
  }
  const auto model = in["model"];
  report.model = {model["architecture"].text(),
                  model["parameterization"].text_or_empty(),
                  model["parameters"].whole(),
                  {},
                  model["outputs"].whole()};
  for (const auto& size : model["input_shape"].list()) report.model.input_shape.push_back(size.whole());
  const auto data = in["data"];
  report.data = {data["source"].text(),           data["task"].text(),
                 data["samples"].whole(),         data["dimension"].whole(),
                 data["control_samples"].whole(), data["control_source"].text_or_empty()};
  report.threat_model = {read_texts(in["threat_model"]["knows"]), read_texts(in["threat_model"]["does_not_know"])};
  if (const auto training = in["training"]; !training.is_null()) {
    report.training = TrainingFacts{training["final_loss"].real_or_null(), training["train_accuracy"].real_or_null(),
                                    training["test_accuracy"].real_or_null()};
  }
  const auto deviation = in["deviation"];
  report.deviation = {deviation["kernel_distance"].real_or_null(),
                      deviation["initial_to_infinite"].real_or_null(),
                      deviation["final_to_infinite"].real_or_null(),
                      deviation["linearization_error"].real_or_null(),
                      deviation["linearization_error_control"].real_or_null(),
                      deviation["relative_parameter_change"].real_or_null(),
                      deviation["residual_at_truth"].real_or_null(),
                      deviation["residual_at_truth_final"].real_or_null(),
                      deviation["parameters_per_unknown"].real_or_null(),
                      deviation["reason"].text_or_empty()};
  for (const auto& finding : in["findings"].list()) report.findings.push_back(read_finding(finding));
  if (const auto exposure = in["exposure"]; !exposure.is_null()) {
    report.exposure = Exposure{exposure["attack"].text(), {}, exposure["reason"].text_or_empty()};
    for (const auto& predictor : exposure["predictors"].list()) {
      report.exposure->predictors.push_back({predictor["name"].text(), predictor["spearman"].real_or_null(),
                                             predictor["p_value"].fraction_or_null(),
                                             read_numbers(predictor["values"])});
    }
  }
  if (const auto gate = in["gate"]; !gate.is_null()) {
    report.gate = Gate{gate["policy"].raw(), {}};
    for (const auto& rule : gate["rules"].list()) {
      report.gate->rules.push_back({rule["rule"].text(), rule["measured"].real_or_null(), rule["limit"].real_or_null(),
                                    rule["outcome"].one_of(outcomes), rule["reason"].text_or_empty()});
    }
  }
  report.limitations = read_texts(in["limitations"]);
  if (in["timing"].raw().is_object()) report.timing = in["timing"].raw();
  return report;
}

}  // namespace afterimage
