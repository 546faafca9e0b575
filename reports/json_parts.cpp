#include "reports/json_parts.h"

#include <cmath>

namespace afterimage::json {

Json number(const Number& value) { return value && std::isfinite(*value) ? Json(*value) : Json(nullptr); }

std::string utf8(const std::string& text) {
  return Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace)).get<std::string>();
}

Json to_json(const Rate& rate) {
  return {{"count", rate.count}, {"of", rate.of}, {"rate", rate.rate}, {"ci95", {rate.ci95_low, rate.ci95_high}}};
}

Json to_json(const Confirmed& confirmed) { return {{"count", confirmed.count}, {"right", confirmed.right}}; }

Json to_json(const Membership& membership) {
  Json roc = Json::array();
  for (const auto& [fpr, tpr] : membership.roc) roc.push_back({fpr, tpr});
  return {{"auc", membership.auc},
          {"tpr_at_fpr_0_01", number(membership.tpr_at_fpr_0_01)},
          {"tpr_at_fpr_0_001", number(membership.tpr_at_fpr_0_001)},
          {"advantage", membership.advantage},
          {"roc", roc}};
}

Json to_json(const Tool& tool) {
  return {{"name", tool.name},       {"version", tool.version}, {"libtorch", tool.libtorch},    {"device", tool.device},
          {"threads", tool.threads}, {"seed", tool.seed},       {"command", utf8(tool.command)}};
}

Json to_json(const DataFacts& data) {
  return {{"source", utf8(data.source)},
          {"task", data.task},
          {"samples", data.samples},
          {"dimension", data.dimension},
          {"control_samples", data.control_samples},
          {"control_source", utf8(data.control_source)}};
}

}  // namespace afterimage::json
