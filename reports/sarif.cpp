#include "reports/sarif.h"

#include <fmt/format.h>

#include "models/foundations/files.h"

namespace afterimage {
namespace {

const char* kind_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::pass:
      return "pass";
    case Outcome::fail:
      return "fail";
    case Outcome::inconclusive:
      return "open";
  }
  throw std::logic_error("unknown outcome");
}

// A file name as a URI reference.
std::string uri_of(const std::string& file) {
  std::string uri;
  for (const char c : file) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("/._-~").find(c) != std::string_view::npos;
    uri += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return uri;
}

}  // namespace

Json to_sarif(const Report& report, const std::string& policy_file) {
  Json rules = Json::array(), results = Json::array();
  for (const auto& rule : report.gate ? report.gate->rules : std::vector<RuleResult>{}) {
    const Json id = "afterimage/" + rule.rule;
    rules.push_back({{"id", id}, {"shortDescription", {{"text", "Privacy gate rule " + rule.rule}}}});
    // SARIF requires the level "none" for every kind but "fail".
    results.push_back({{"ruleId", id},
                       {"kind", kind_of(rule.outcome)},
                       {"level", rule.outcome == Outcome::fail ? "error" : "none"},
                       {"message", {{"text", rule.reason}}},
                       {"locations",
                        {{{"physicalLocation",
                           {{"artifactLocation", {{"uri", uri_of(policy_file)}}}, {"region", {{"startLine", 1}}}}}}}},
                       {"partialFingerprints", {{"afterimageRule/v1", sha256_of(rule.rule)}}}});
  }
  return {{"$schema", "https://json.schemastore.org/sarif-2.1.0.json"},
          {"version", "2.1.0"},
          {"runs",
           {{{"tool", {{"driver", {{"name", report.tool.name}, {"version", report.tool.version}, {"rules", rules}}}}},
             {"results", results}}}}};
}

}  // namespace afterimage
