#include "reports/report.h"

#include <cmath>

#include "models/base/error.h"
#include "reports/contact_sheet.h"
#include "reports/html.h"
#include "reports/junit.h"
#include "reports/sarif.h"

namespace afterimage {
namespace {

Report sample_report() {
  Report report;
  report.tool = {"afterimage", "0.1.0", "1.13.1", "cpu", 2, 7, "afterimage audit run --out report"};
  report.verdict = Verdict::fail;
  report.inputs = {{"trained", "run/trained.safetensors", "safetensors", 12, std::string(64, 'a')}};
  report.model = {"mlp:8", "standard", 81, {2, 3}, 1};
  report.data = {"fashion-mnist", "odd-even", 2, 6, 200, "fashion-mnist"};
  report.threat_model = {{"weights"}, {"images"}};
  report.training = TrainingFacts{0.25, 1.0, std::nullopt};
  report.deviation.kernel_distance = 0.01;
  report.deviation.reason = "no analytic kernel";
  Finding finding;
  finding.attack = "finite-width";
  finding.reconstructed = rate_of(1, 2);
  finding.control = rate_of(0, 100);
  finding.confirmed = Confirmed{1, 1};
  finding.membership = membership_of(std::vector<double>{3, 1}, std::vector<double>{2, 0});
  finding.relative_loss = 0.02;
  finding.p_value = 0.01;
  finding.member_distances = {0.1, 0.9};
  finding.control_distances = {0.8, 0.7};
  finding.evidence["rank"] = 2;
  finding.samples = {{0, "7", 1.5, 0.1, 0.9, 0.01, true, "aaaa", "bbbb"}, {1, "3", {}, {}, {}, {}, false, "cccc", ""}};
  report.findings = {finding};
  report.gate =
      Gate{{{"schema", "afterimage.policy/1"}}, {{"max_reconstructed_rate", 0.5, 0.0, Outcome::fail, "too many"}}};
  report.limitations = {"not a proof"};
  report.timing["seconds"] = 1.5;
  return report;
}

}  // namespace

TEST_CASE("a report comes back from its JSON as it was") {
  const Json document = to_json(sample_report());
  CHECK(to_json(report_from_json(Json::parse(document.dump()), "r.json")) == document);
}

TEST_CASE("what is not finite is written as null") {
  Report report = sample_report();
  report.findings[0].relative_loss = std::nan("");
  report.deviation.kernel_distance = INFINITY;
  const Json document = to_json(report);
  CHECK(document["findings"][0]["relative_loss"].is_null());
  CHECK(document["deviation"]["kernel_distance"].is_null());
}

TEST_CASE("a document that is no report is refused in one line that names the file and the place") {
  const Json good = to_json(sample_report());
  const auto message = [](const Json& document) -> std::string {
    try {
      report_from_json(document, "r.json");
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  };
  for (const auto& [path, value] : std::vector<std::pair<std::string, Json>>{{"/schema", "afterimage.report/2"},
                                                                             {"/verdict", "good"},
                                                                             {"/findings", 7},
                                                                             {"/findings/0/attack", 7},
                                                                             {"/findings/0/status", "fine"},
                                                                             {"/findings/0/reconstructed/ci95", {1}},
                                                                             {"/inputs/0/bytes", -1},
                                                                             {"/tool/threads", "two"},
                                                                             {"/model/input_shape", "28x28"}}) {
    Json spoilt = good;
    spoilt[Json::json_pointer(path)] = value;
    CAPTURE(path);
    CHECK(message(spoilt).starts_with("r.json: "));
    CHECK(message(spoilt).find('\n') == std::string::npos);
  }
  CHECK_FALSE(message(Json::array()).empty());
  CHECK_FALSE(message("text").empty());
  CHECK(message(good).empty());
}

TEST_CASE("hostile strings are inert wherever they stand in the page, and the page asks for nothing outside itself") {
  const std::string hostile = "</script><script>alert(1)</script>\"><img src=x onerror=alert(1)>{{verdict}}";
  Report report = sample_report();
  report.tool.command = report.inputs[0].name = report.findings[0].reason = report.findings[0].samples[0].label =
      hostile;
  report.findings[0].evidence[hostile] = hostile;
  report.gate->rules[0].reason = report.limitations[0] = report.data.source = report.model.architecture = hostile;
  const std::string page = render_html(report);
  CHECK(page.find("<script>alert(1)") == std::string::npos);
  CHECK(page.find("<img src=x") == std::string::npos);
  CHECK(page.find("&lt;script&gt;alert(1)") != std::string::npos);
  CHECK(page.find("src=\"http") == std::string::npos);
  CHECK(page.find("href=\"http") == std::string::npos);
  CHECK(page.find("content=\"default-src &apos;none&apos;; img-src data:") != std::string::npos);
  CHECK(page == render_html(report));
}

TEST_CASE("pictures become PNGs, and a picture that its pixels do not fill is refused") {
  const Picture picture{2, 2, 1, {0, 85, 170, 255}};
  CHECK(encode_png(picture).starts_with("\x89PNG\r\n"));
  CHECK(contact_sheet({{picture, picture}, {picture, picture}}).starts_with("\x89PNG\r\n"));
  CHECK_THROWS_AS(encode_png({2, 2, 3, {1, 2, 3}}), std::invalid_argument);
  CHECK_THROWS_AS(contact_sheet({}), std::invalid_argument);
}

TEST_CASE("the gate's results reach SARIF and JUnit one by one, with hostile text escaped") {
  Report report = sample_report();
  report.gate->rules.push_back(
      {"require_attacks.span", std::nullopt, std::nullopt, Outcome::inconclusive, "a < b & \"c\" \x1b"});
  report.gate->rules.push_back({"minimum_control_samples", 200.0, 100.0, Outcome::pass, "enough"});
  const Json sarif = to_sarif(report, "policy.json");
  CHECK(sarif["version"] == "2.1.0");
  const Json& results = sarif["runs"][0]["results"];
  REQUIRE(results.size() == 3);
  CHECK(results[0]["level"] == "error");
  CHECK(results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "policy.json");
  CHECK(results[1]["kind"] == "open");
  CHECK(results[2]["kind"] == "pass");
  CHECK(sarif["runs"][0]["tool"]["driver"]["rules"].size() == 3);
  const std::string xml = to_junit(report);
  CHECK(xml.find("tests=\"3\" failures=\"1\" errors=\"1\"") != std::string::npos);
  CHECK(xml.find("a &lt; b &amp; &quot;c&quot;") != std::string::npos);
  CHECK(xml.find('\x1b') == std::string::npos);
}

}  // namespace afterimage
