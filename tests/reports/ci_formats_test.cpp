// SARIF and JUnit as docs/ci-formats.md says that services ask for them.
#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <set>

#include "reports/junit.h"
#include "reports/sarif.h"
#include "tests/folder.h"

namespace afterimage {
namespace {

namespace fs = std::filesystem;

const fs::path checkout = "/checkout/project";

// A rule of each outcome; weights whose SHA-256 is 64 times `digit`.
Report gated_report(char digit = 'a') {
  Report report;
  report.tool.version = "1.2.3";
  report.inputs.resize(2);
  report.inputs[0].role = "training-set";
  report.inputs[0].sha256 = std::string(64, 'e');
  report.inputs[1].role = "trained";
  report.inputs[1].name = "runs/a/trained.safetensors";
  report.inputs[1].sha256 = std::string(64, digit);
  report.gate = Gate{{{"schema", "afterimage.policy/1"}},
                     {{"minimum_control_samples", 200.0, 100.0, Outcome::pass, "enough"},
                      {"max_reconstructed_rate", 0.5, 0.25, Outcome::fail, "too many"},
                      {"require_attacks.span", {}, {}, Outcome::inconclusive, "span was not run"}}};
  return report;
}

Json sarif_run(const Report& report, const fs::path& policy = "policy.json", const fs::path& folder = checkout) {
  return to_sarif(report, policy, folder)["runs"][0];
}

Json place_in(const Json& result) { return result["locations"][0]["physicalLocation"]["artifactLocation"]; }

std::set<std::string> fingerprints(const Report& report) {
  std::set<std::string> all;
  const Json results = sarif_run(report)["results"];
  for (const auto& result : results) {
    for (const auto& [key, value] : result["partialFingerprints"].items()) all.insert(value.get<std::string>());
  }
  return all;
}

// Values of an attribute, in order.
std::vector<std::string> values_of(const std::string& attribute, const std::string& xml) {
  std::vector<std::string> values;
  const std::string start = " " + attribute + "=\"";
  for (auto at = xml.find(start); at != std::string::npos; at = xml.find(start, at)) {
    at += start.size();
    values.push_back(xml.substr(at, xml.find('"', at) - at));
  }
  return values;
}

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

template <class Values>
bool are_disjoint(const Values& a, const Values& b) {
  return std::none_of(a.begin(), a.end(),
                      [&](const auto& value) { return std::find(b.begin(), b.end(), value) != b.end(); });
}

}  // namespace

TEST_CASE("a rule that passed leaves no result in SARIF and stays among the rules") {
  Report report = gated_report();
  const Json run = sarif_run(report);
  REQUIRE(run["tool"]["driver"]["rules"].size() == 3);
  CHECK(run["tool"]["driver"]["rules"][0]["id"] == "afterimage/minimum_control_samples");
  REQUIRE(run["results"].size() == 2);
  for (const auto& result : run["results"]) CHECK(result["ruleId"] != "afterimage/minimum_control_samples");
  for (auto& rule : report.gate->rules) rule.outcome = Outcome::pass;
  CHECK(sarif_run(report)["results"] == Json::array());
  report.gate.reset();
  CHECK(sarif_run(report)["results"] == Json::array());
}

TEST_CASE("an inconclusive rule is an error in SARIF where the policy fails because of it, else a warning or a note") {
  Report report = gated_report();
  for (const auto& [counts_as, level] : std::vector<std::pair<Json, std::string>>{
           {nullptr, "error"}, {"fail", "error"}, {"inconclusive", "warning"}, {"pass", "note"}}) {
    if (!counts_as.is_null()) report.gate->policy["on_inconclusive"] = counts_as;
    CAPTURE(counts_as);
    const Json results = sarif_run(report)["results"];
    CHECK(results[0]["level"] == "error");
    CHECK(results[1]["level"] == level);
    // SARIF has no other level than "none" for other kinds.
    for (const auto& result : results) CHECK(result["kind"] == "fail");
    CHECK(results[1]["message"]["text"].get<std::string>().starts_with("Inconclusive: span was not run. "));
  }
}

TEST_CASE("a result names its rule by id and index, and the message names the weights") {
  const Json run = sarif_run(gated_report());
  for (const auto& result : run["results"]) {
    const Json& rule = run["tool"]["driver"]["rules"][result["ruleIndex"].get<std::size_t>()];
    CHECK(rule["id"] == result["ruleId"]);
    CHECK(holds(result["message"]["text"], "runs/a/trained.safetensors, SHA-256 aaaaaaaaaaaa."));
  }
  CHECK(run["results"][0]["message"]["text"].get<std::string>().starts_with("too many. "));
}

TEST_CASE("a message has at most 1024 characters, names the weights all the same, and doubles braces") {
  Report report = gated_report();
  std::string reason = "{0} of {1}";
  for (int i = 0; i < 1000; ++i) reason += "\u00e9";  // two bytes each
  report.gate->rules[1].reason = reason;
  report.inputs[1].name = std::string(2000, 'n');
  const std::string text = sarif_run(report)["results"][0]["message"]["text"];
  CHECK(text.size() <= 1024);
  CHECK(text.starts_with("{{0}} of {{1}}\u00e9"));
  CHECK(holds(text, "\u00e9... Weights: nnn"));
  CHECK(text.ends_with("n..., SHA-256 aaaaaaaaaaaa."));
}

TEST_CASE("every kind of rule has the words that code scanning shows, and they hold no measured value") {
  Report report = gated_report();
  for (const char* rule : {"span.max_reconstructed_rate", "max_membership_tpr_at_1pct_fpr",
                           "loss.max_membership_tpr_at_1pct_fpr", "a_rule_of_a_later_version"}) {
    report.gate->rules.push_back({rule, 0.8125, 0.0625, Outcome::fail, "too many"});
  }
  const Json rules = sarif_run(report)["tool"]["driver"]["rules"];
  std::set<std::string> titles;
  for (const auto& rule : rules) {
    CAPTURE(rule["id"]);
    CHECK(rule["name"].get<std::string>().size() <= 255);
    CHECK(rule["defaultConfiguration"]["level"] == "error");
    CHECK_FALSE(rule["help"]["text"].get<std::string>().empty());
    for (const char* text : {"shortDescription", "fullDescription"}) {
      CHECK_FALSE(rule[text]["text"].get<std::string>().empty());
      CHECK(rule[text]["text"].get<std::string>().size() <= 1024);
    }
    CHECK(titles.insert(rule["shortDescription"]["text"].get<std::string>()).second);
    CHECK_FALSE(holds(rule.dump(), "0.8125"));
    CHECK_FALSE(holds(rule.dump(), "0.0625"));
  }
}

TEST_CASE("a policy inside the folder where the program runs is named relative to it, however it is given") {
  for (const auto& [given, uri] :
       std::vector<std::pair<std::string, std::string>>{{"policy.json", "policy.json"},
                                                        {"./ci//policy.json", "ci/policy.json"},
                                                        {"ci/../policy.json", "policy.json"},
                                                        {"../project/ci/policy.json", "ci/policy.json"},
                                                        {"/checkout/project/policy.json", "policy.json"},
                                                        {"/checkout/other/../project/ci/policy.json", "ci/policy.json"},
                                                        {"a b/\xc3\xa4%:.json", "a%20b/%C3%A4%25%3A.json"}}) {
    CAPTURE(given);
    const Json run = sarif_run(gated_report(), given);
    for (const auto& result : run["results"]) CHECK(place_in(result) == Json{{"uri", uri}});
    CHECK_FALSE(run.contains("originalUriBaseIds"));
  }
}

TEST_CASE("a policy outside that folder is named by its file name and a base, without a path of the machine") {
  for (const char* given : {"/elsewhere/policy.json", "../policy.json", "../project-2/policy.json",
                            "/checkout/project/../policy.json", "ci/../../policy.json"}) {
    CAPTURE(given);
    const Json run = sarif_run(gated_report(), given);
    for (const auto& result : run["results"]) {
      CHECK(place_in(result)["uri"] == "policy.json");
      const Json& base = run["originalUriBaseIds"][place_in(result)["uriBaseId"].get<std::string>()];
      CHECK(base.contains("description"));
      CHECK_FALSE(base.contains("uri"));
    }
    for (const char* part : {"elsewhere", "checkout", "project-2", ".."}) CHECK_FALSE(holds(run.dump(), part));
  }
}

TEST_CASE("a link to the policy is resolved where it stays in the folder, and named itself where it leads out") {
  const test::Folder folder;
  fs::create_directories(folder.at("checkout/real"));
  folder.write("checkout/real/policy.json", "{}");
  folder.write("policy.json", "{}");
  fs::create_directory_symlink("real", folder.at("checkout/link"));
  fs::create_symlink("../policy.json", folder.at("checkout/shared.json"));
  fs::create_directory_symlink("checkout", folder.at("other-way"));
  const auto place = [&](const fs::path& policy) {
    return place_in(sarif_run(gated_report(), policy, folder.at("checkout"))["results"][0]);
  };
  CHECK(place("link/policy.json") == Json{{"uri", "real/policy.json"}});
  CHECK(place(folder.at("other-way/real/policy.json")) == Json{{"uri", "real/policy.json"}});
  CHECK(place("shared.json") == Json{{"uri", "shared.json"}});
  CHECK(place("link/../../policy.json") == Json{{"uri", "policy.json"}, {"uriBaseId", "POLICYFOLDER"}});
}

TEST_CASE("reports on different weights share no fingerprint and no class name") {
  const Report one = gated_report('a'), other = gated_report('b');
  CHECK(are_disjoint(fingerprints(one), fingerprints(other)));
  CHECK(are_disjoint(values_of("classname", to_junit(one)), values_of("classname", to_junit(other))));
}

TEST_CASE("two state dicts of one checkpoint share no fingerprint and no class name") {
  const auto of_key = [](const char* key) {
    Report report = gated_report();
    for (auto& input : report.inputs) {
      if (input.role == "trained") input.key = key;
    }
    return report;
  };
  CHECK(are_disjoint(fingerprints(of_key("model")), fingerprints(of_key("ema"))));
  CHECK(
      are_disjoint(values_of("classname", to_junit(of_key("model"))), values_of("classname", to_junit(of_key("ema")))));
  CHECK(fingerprints(of_key("model")) == fingerprints(of_key("model")));
}

TEST_CASE("SARIF names no category, which is left to whoever uploads it") {
  CHECK_FALSE(sarif_run(gated_report()).contains("automationDetails"));
}

TEST_CASE("reports on the same weights share all fingerprints and class names, whatever was measured") {
  const Report one = gated_report();
  Report again = gated_report();
  again.inputs[1].name = "/home/someone/copy.pt";
  again.inputs[0].sha256 = std::string(64, 'f');
  again.tool.seed = 8;
  for (auto& rule : again.gate->rules) {
    rule.measured = 0.75;
    rule.reason = "as before";
  }
  CHECK(fingerprints(one) == fingerprints(again));
  CHECK(values_of("classname", to_junit(one)) == values_of("classname", to_junit(again)));
  CHECK(values_of("name", to_junit(one)) == values_of("name", to_junit(again)));
  CHECK(to_junit(one) == to_junit(gated_report()));
}

TEST_CASE("each rule has a fingerprint of its own, under the name that code scanning reads") {
  const Json results = sarif_run(gated_report())["results"];
  std::set<std::string> read;
  for (const auto& result : results) {
    read.insert(result["partialFingerprints"]["primaryLocationLineHash"].get<std::string>());
  }
  CHECK(read.size() == results.size());
  CHECK(read == fingerprints(gated_report()));
}

TEST_CASE("reports without the SHA-256 of the trained weights, or with a malformed one, differ where their inputs do") {
  Report one = gated_report(), other = gated_report();
  one.inputs.pop_back();
  other.inputs.pop_back();
  CHECK(fingerprints(one) == fingerprints(other));
  other.inputs[0].sha256 = std::string(64, 'f');
  CHECK(are_disjoint(fingerprints(one), fingerprints(other)));
  one = other = gated_report();
  one.inputs[1].sha256 = "\xc3\xa4\" onload=\"";
  other.inputs[1].sha256 = "";
  CHECK(are_disjoint(fingerprints(one), fingerprints(other)));
  CHECK_FALSE(holds(to_junit(one), "onload"));
}

TEST_CASE("folders of the machine are in neither format") {
  Report report = gated_report();
  for (const char* name : {"/home/someone/models/trained.pt", "../../someone/models/trained.pt"}) {
    report.inputs[1].name = name;
    for (const std::string& text : {sarif_run(report).dump(), to_junit(report)}) {
      CHECK(holds(text, "trained.pt"));
      CHECK_FALSE(holds(text, "someone"));
    }
  }
}

TEST_CASE(
    "in JUnit a failed rule is a failure, an inconclusive one an error, or skipped where the policy lets it pass") {
  Report report = gated_report();
  for (const char* counts_as : {"fail", "inconclusive", "pass"}) {
    report.gate->policy["on_inconclusive"] = counts_as;
    CAPTURE(counts_as);
    const bool skips = counts_as == std::string("pass");
    const std::string xml = to_junit(report);
    CHECK(holds(xml, std::string("<testsuite name=\"afterimage\" tests=\"3\" failures=\"1\" errors=\"") +
                         (skips ? "0\" skipped=\"1\"" : "1\" skipped=\"0\"")));
    CHECK(holds(xml, "name=\"max_reconstructed_rate\" time=\"0\">\n    <failure type=\"fail\" message=\"too many\">"));
    CHECK(holds(xml, std::string(skips ? "<skipped" : "<error") +
                         " type=\"inconclusive\" message=\"Inconclusive: span was not run\">Inconclusive: "));
    CHECK(values_of("classname", xml) == std::vector<std::string>(3, "afterimage.aaaaaaaaaaaa"));
    CHECK(values_of("time", xml) == std::vector<std::string>(4, "0"));
  }
}

TEST_CASE("the text of a failure repeats its message and says what was measured, of which weights") {
  const std::string xml = to_junit(gated_report());
  CHECK(holds(xml, ">too many\nmeasured: 0.5\nlimit: 0.25\nweights: runs/a/trained.safetensors, SHA-256 " +
                       std::string(64, 'a') + "</failure>"));
  CHECK(holds(xml, ">Inconclusive: span was not run\nmeasured: none\nlimit: none\nweights: "));
}

TEST_CASE("hostile text is escaped in JUnit, and what XML cannot hold is dropped") {
  Report report = gated_report();
  report.inputs[1].name = "\"><script>";
  report.gate->rules[1].reason = "a < b & \"c\"\n\td \x1b";
  report.gate->rules[2].rule = "\xEF\xBF\xBE\x01";
  const std::string xml = to_junit(report);
  CHECK(holds(xml, "message=\"a &lt; b &amp; &quot;c&quot;&#10;&#9;d \">"));
  for (const char* part : {"\x01", "\x1b", "\xEF\xBF\xBE", "<script>"}) CHECK_FALSE(holds(xml, part));
}

}  // namespace afterimage
