#include "reports/json_parts.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

namespace afterimage::json {
namespace {

const Names<InputKind> kinds = {{InputKind::image, "image"}, {InputKind::record, "record"}};

const Names<BoundMethod> bound_methods = {{BoundMethod::clopper_pearson, "clopper-pearson"},
                                          {BoundMethod::one_run, "one-run"},
                                          {BoundMethod::f_dp_one_run, "f-dp-one-run"}};

}  // namespace

Json number(const Number& value) { return value && std::isfinite(*value) ? Json(*value) : Json(nullptr); }

Json numbers(const std::vector<double>& values) {
  Json list = Json::array();
  for (const double value : values) list.push_back(number(value));
  return list;
}

std::string utf8(const std::string& text) {
  return Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace)).get<std::string>();
}

Json to_json(const Rate& rate) {
  return {{"count", rate.count}, {"of", rate.of}, {"rate", rate.rate}, {"ci95", {rate.ci95_low, rate.ci95_high}}};
}

Json to_json(const Confirmed& confirmed) { return {{"count", confirmed.count}, {"right", confirmed.right}}; }

Json to_json(const EpsilonLowerBound& bound) {
  return {{"value", bound.value},           {"delta", bound.delta},
          {"confidence", bound.confidence}, {"method", name_in(bound_methods, bound.method)},
          {"ceiling", bound.ceiling},       {"guesses", bound.guesses}};
}

Json to_json(const Membership& membership) {
  Json roc = Json::array();
  for (const auto& [fpr, tpr] : membership.roc) roc.push_back({fpr, tpr});
  Json document;
  add_figures(document, membership, membership_figures);
  document["roc"] = std::move(roc);
  document["epsilon_lower_bound"] =
      membership.epsilon_lower_bound ? to_json(*membership.epsilon_lower_bound) : Json(nullptr);
  return document;
}

Json to_json(const Tool& tool) {
  return {{"name", tool.name},       {"version", tool.version}, {"libtorch", tool.libtorch},    {"device", tool.device},
          {"threads", tool.threads}, {"seed", tool.seed},       {"command", utf8(tool.command)}};
}

Json to_json(const DataFacts& data) {
  Json document = {{"source", utf8(data.source)},
                   {"task", data.task},
                   {"samples", data.samples},
                   {"dimension", data.dimension},
                   {"control_samples", data.control_samples},
                   {"control_source", utf8(data.control_source)},
                   {"kind", name_in(kinds, data.kind)}};
  if (!data.columns.empty()) {
    Json& columns = document["columns"] = Json::array();
    for (const auto& column : data.columns) columns.push_back(utf8(column));
  }
  if (!data.one_hot.empty()) document["one_hot"] = data.one_hot;
  return document;
}

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

std::optional<Confirmed> read_confirmed(const Reader& in) {
  if (in.is_null()) return std::nullopt;
  return Confirmed{in["count"].whole(), in["right"].whole()};
}

std::optional<EpsilonLowerBound> read_bound(const Reader& in) {
  if (in.is_null()) return std::nullopt;
  EpsilonLowerBound bound{
      in["value"].real(),          in["delta"].fraction(),
      in["confidence"].fraction(), in["method"].one_of(bound_methods),
      in["ceiling"].real(),        in["guesses"].whole(0, std::numeric_limits<std::int64_t>::max())};
  if (bound.value < 0 || bound.ceiling < 0) in.fail("has to have a value and a ceiling of at least 0");
  if (bound.confidence <= 0 || bound.confidence >= 1) in["confidence"].fail("has to be above 0 and below 1");
  if (bound.delta >= 1) in["delta"].fail("has to be below 1");
  return bound;
}

std::optional<Membership> read_membership(const Reader& in) {
  if (in.is_null()) return std::nullopt;
  Membership membership;
  read_figures(in, membership, membership_figures);
  for (const auto& corner : in["roc"].list_or_empty()) membership.roc.push_back(corner.two());
  membership.epsilon_lower_bound = read_bound(in["epsilon_lower_bound"]);
  return membership;
}

Tool read_tool(const Reader& in) {
  return {in["name"].text(),
          in["version"].text(),
          in["libtorch"].text(),
          in["device"].text(),
          static_cast<int>(in["threads"].whole()),
          in["seed"].whole(),
          in["command"].text()};
}

DataFacts read_data(const Reader& in) {
  DataFacts data{in["source"].text(),           in["task"].text(),
                 in["samples"].whole(),         in["dimension"].whole(),
                 in["control_samples"].whole(), in["control_source"].text_or_empty()};
  if (const auto kind = in.find("kind")) data.kind = kind->one_of(kinds);  // images before 0.5
  const auto require_sum = [&](const char* key, std::int64_t sum) {
    if (sum != data.dimension) in[key].fail(fmt::format("has {} columns, but dimension is {}", sum, data.dimension));
  };
  if (const auto columns = in.find("columns")) {
    data.columns = read_texts(*columns);
    require_sum("columns", static_cast<std::int64_t>(data.columns.size()));
  }
  if (const auto groups = in.find("one_hot")) {
    std::int64_t sum = 0;
    for (const auto& size : groups->list()) sum += data.one_hot.emplace_back(size.whole(1, data.dimension));
    require_sum("one_hot", sum);
  }
  return data;
}

std::vector<std::string> read_texts(const Reader& in) {
  std::vector<std::string> texts;
  for (const auto& item : in.list_or_empty()) texts.push_back(item.text());
  return texts;
}

std::vector<double> read_numbers(const Reader& in) {
  std::vector<double> values;
  for (const auto& item : in.list_or_empty()) values.push_back(item.real_or_null().value_or(std::nan("")));
  return values;
}

}  // namespace afterimage::json
