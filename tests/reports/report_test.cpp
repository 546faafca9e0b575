#include "reports/report.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <set>

#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "reports/contact_sheet.h"
#include "reports/html.h"

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#include <stb/stb_image.h>

namespace afterimage {
namespace {

Report sample_report() {
  Report report;
  report.tool = {"afterimage", "0.1.0", "1.13.1", "cpu", 2, 7, "afterimage audit run --out report"};
  report.verdict = Verdict::fail;
  report.inputs = {{"trained",
                    "run/trained.safetensors",
                    "safetensors",
                    12,
                    std::string(64, 'a'),
                    "ema",
                    {"\"epoch\" was left out"}}};
  report.model = {"mlp:8", "standard", 81, {2, 3}, 1};
  report.data = {"fashion-mnist", "odd-even", 2, 6, 200, "fashion-mnist"};
  report.threat_model = {{"weights"}, {"images"}};
  report.training = TrainingFacts{0.25, 1.0, std::nullopt, 0.125};
  report.deviation.kernel_distance = 0.01;
  report.deviation.reason = "too many rows";
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
  report.exposure =
      Exposure{"finite-width", {{"margin", 0.5, 0.04, {1.5, -2}}, {"loss", {}, {}, {0, 0}}}, "all the same"};
  report.gate =
      Gate{{{"schema", "afterimage.policy/1"}}, {{"max_reconstructed_rate", 0.5, 0.0, Outcome::fail, "too many"}}};
  report.limitations = {"not a proof"};
  report.timing["seconds"] = 1.5;
  return report;
}

std::vector<std::uint8_t> decoded(const std::string& png) {
  int width = 0, height = 0, channels = 0;
  stbi_uc* pixels = stbi_load_from_memory(reinterpret_cast<const stbi_uc*>(png.data()), static_cast<int>(png.size()),
                                          &width, &height, &channels, 0);
  if (pixels == nullptr) return {};
  std::vector<std::uint8_t> copy(pixels, pixels + static_cast<std::ptrdiff_t>(width) * height * channels);
  stbi_image_free(pixels);
  return copy;
}

}  // namespace

TEST_CASE("a report read from its JSON is equal to the one that was written") {
  const Json document = to_json(sample_report());
  CHECK(to_json(report_from_json(Json::parse(document.dump()), "r.json")).dump() == document.dump());
  if (const char* file = std::getenv("AFTERIMAGE_SAMPLE_REPORT")) write_file(file, document.dump());  // schema_test.py
}

TEST_CASE("a finding is complete where its JSON says so, or has the evidence of versions before that field") {
  Report report = sample_report();
  report.findings[0].complete = true;
  Json document = to_json(report);
  CHECK(report_from_json(document, "r.json").findings[0].complete);
  document["findings"][0]["complete"] = false;
  CHECK_FALSE(report_from_json(document, "r.json").findings[0].complete);
  document["findings"][0].erase("complete");
  CHECK_FALSE(report_from_json(document, "r.json").findings[0].complete);
  document["findings"][0]["evidence"]["all_found"] = true;
  CHECK(report_from_json(document, "r.json").findings[0].complete);
}

TEST_CASE("every figure of a table is in the JSON under its key, comes back from there, and is a row of the page") {
  Report report = sample_report();
  Finding& finding = report.findings[0];
  double value = 0.125;
  const auto fill = [&](auto& owner, const auto& figures) {
    for (const auto& figure : figures) figure.set(owner, value /= 2);
  };
  fill(report.deviation, deviation_figures);
  fill(*report.training, training_figures);
  fill(finding, search_figures);
  fill(finding, score_figures);
  fill(*finding.membership, membership_figures);
  const Json document = to_json(report);
  const Report back = report_from_json(document, "r.json");
  const std::string page = render_html(report);
  const auto check = [&](const auto& owner, const auto& again, const Json& object, const auto& figures) {
    std::set<std::string> keys;
    for (const auto& figure : figures) {
      CAPTURE(figure.key);
      CHECK(keys.insert(figure.key).second);
      CHECK(object.at(figure.key) == figure.of(owner).value());
      CHECK(figure.of(again) == figure.of(owner));
      CHECK(page.find(std::string("<th scope=\"row\">") + figure.name + "</th>") != std::string::npos);
      CHECK(std::string(figure.meaning).find_first_of("<>&\"") == std::string::npos);  // pages escape them
    }
  };
  check(report.deviation, back.deviation, document["deviation"], deviation_figures);
  check(*report.training, *back.training, document["training"], training_figures);
  check(finding, back.findings[0], document["findings"][0], search_figures);
  check(finding, back.findings[0], document["findings"][0], score_figures);
  check(*finding.membership, *back.findings[0].membership, document["findings"][0]["membership"], membership_figures);
}

TEST_CASE("a figure that is no number, or outside its unit's range, is refused with its place") {
  const Json good = to_json(sample_report());
  for (const auto& [path, value] : std::vector<std::pair<std::string, Json>>{{"/deviation/kernel_distance", "small"},
                                                                             {"/training/train_accuracy", 95},
                                                                             {"/findings/0/p_value", -0.5},
                                                                             {"/findings/0/membership/auc", nullptr}}) {
    Json spoilt = good;
    spoilt[Json::json_pointer(path)] = value;
    CAPTURE(path);
    CHECK_THROWS_AS(report_from_json(spoilt, "r.json"), InputError);
  }
}

TEST_CASE("numbers come back to the last bit, and text with every kind of character as it was") {
  Report report = sample_report();
  report.findings[0].p_value = 0.1 + 0.2;
  report.findings[0].loss_initial = 5e-324;
  report.findings[0].loss_final = 1.7976931348623157e308;
  report.findings[0].reason = std::string("nul ") + '\0' + " quote \" newline \n \u2028 \U0001F600";
  report.tool.seed = std::numeric_limits<std::int64_t>::max();
  const Report back = report_from_json(Json::parse(to_json(report).dump()), "r.json");
  CHECK(back.findings[0].p_value == report.findings[0].p_value);
  CHECK(back.findings[0].loss_initial == report.findings[0].loss_initial);
  CHECK(back.findings[0].loss_final == report.findings[0].loss_final);
  CHECK(back.findings[0].reason == report.findings[0].reason);
  CHECK(back.tool.seed == report.tool.seed);
}

TEST_CASE("a file name that is not UTF-8 does not stop a report from being written") {
  Report report = sample_report();
  report.inputs[0].name = report.tool.command = "run/\xff.pt";
  CHECK(to_json(report).dump().find("run/\xEF\xBF\xBD.pt") != std::string::npos);
}

TEST_CASE("numbers that are not finite are written as null") {
  Report report = sample_report();
  report.findings[0].relative_loss = std::nan("");
  report.deviation.kernel_distance = INFINITY;
  report.findings[0].member_distances[0] = -INFINITY;
  report.findings[0].samples[0].ssim = std::nan("");
  const Json document = to_json(report);
  CHECK(document["findings"][0]["member_distances"][0].is_null());
  CHECK(document["findings"][0]["samples"][0]["ssim"].is_null());
  CHECK(document.dump().find("nan") == std::string::npos);
  CHECK(to_json(report_from_json(document, "r.json")) == document);
  CHECK(document["findings"][0]["relative_loss"].is_null());
  CHECK(document["deviation"]["kernel_distance"].is_null());
}

TEST_CASE("an invalid report is refused in one line that names the file and the place") {
  const Json good = to_json(sample_report());
  const auto message = [](const Json& document) -> std::string {
    try {
      report_from_json(document, "r.json");
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  };
  const Json hostile = "x\n\x1b[31m";
  for (const auto& [path, value] : std::vector<std::pair<std::string, Json>>{{"/verdict", hostile},
                                                                             {"/tool/threads", hostile},
                                                                             {"/tool/seed", 1e300},
                                                                             {"/tool/seed", 18446744073709551615U},
                                                                             {"/findings/0/reconstructed/rate", -1},
                                                                             {"/findings/0/reconstructed/count", 3},
                                                                             {"/findings/0/reconstructed/of", 0},
                                                                             {"/findings/0/control/ci95", {0.5, 1.0}},
                                                                             {"/findings/0/membership/auc", 95},
                                                                             {"/findings/0/samples/0/label", nullptr},
                                                                             {"/gate/rules/0/outcome", "maybe"},
                                                                             {"/model", Json::array()}}) {
    Json spoilt = good;
    spoilt[Json::json_pointer(path)] = value;
    CAPTURE(path);
    const std::string place = path.substr(1, path.find('/', 1) - 1);
    CHECK(message(spoilt).starts_with("r.json: " + place));
    CHECK(message(spoilt).find_first_of("\n\x1b") == std::string::npos);
  }
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
  for (const char* path :
       {"/findings", "/inputs", "/findings/0/reconstructed", "/findings/0/control", "/findings/0/membership"}) {
    const Json::json_pointer place(path);
    Json spoilt = good;
    spoilt[place.parent_pointer()].erase(place.back());
    CAPTURE(path);
    CHECK(message(spoilt).starts_with("r.json: "));
  }
  Json twice = good;
  twice["findings"].push_back(good["findings"][0]);
  CHECK(message(twice).find("findings[1].attack names an attack that has a finding already") != std::string::npos);
  CHECK_FALSE(message(Json::array()).empty());
  CHECK_FALSE(message("text").empty());
  CHECK(message(good).empty());
}

TEST_CASE("hostile strings are escaped everywhere in the page, and the page loads nothing from outside") {
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
  CHECK(page.find("url(") == std::string::npos);
  CHECK(page == render_html(report));
}

TEST_CASE("the page of a report is the page of its JSON, and one without figures or with gaps has a page too") {
  const Report report = sample_report();
  CHECK(render_html(report_from_json(to_json(report), "r.json")) == render_html(report));
  Report gaps = report;
  gaps.findings[0].control.reset();
  gaps.findings[0].membership.reset();
  CHECK(render_html(gaps).find("an unknown number of control images") != std::string::npos);
  gaps.findings.clear();
  gaps.gate.reset();
  gaps.training.reset();
  CHECK(render_html(gaps).find("<canvas") == std::string::npos);
}

TEST_CASE("an attack without figures has no table, and empty evidence has no row") {
  Report report = sample_report();
  const auto tables = [&] {
    const std::string page = render_html(report);
    std::size_t count = 0;
    for (auto at = page.find("<table"); at != std::string::npos; at = page.find("<table", at + 1)) count += 1;
    return count;
  };
  Finding none;
  none.attack = "span";
  none.evidence["singular_values"] = nlohmann::json::array();
  const std::size_t before = tables();
  report.findings.push_back(none);
  CHECK(tables() == before);
  report.findings.back().evidence["rank"] = 3;
  CHECK(tables() == before + 1);
}

TEST_CASE("every embedded image is a data URL, and a forged one cannot leave its attribute") {
  Report report = sample_report();
  report.findings[0].samples[0].original_png = "\" onerror=\"alert(1)";
  const std::string page = render_html(report);
  CHECK(page.find("\" onerror=\"") == std::string::npos);
  std::size_t images = 0;
  for (auto at = page.find("<img "); at != std::string::npos; at = page.find("<img ", at + 1)) {
    images += 1;
    CHECK(page.compare(at, 32, "<img src=\"data:image/png;base64,") == 0);
  }
  CHECK(images == 3);
}

TEST_CASE("pictures become PNG files, and a picture with too few pixels is refused") {
  const Picture picture{2, 2, 1, {0, 85, 170, 255}};
  CHECK(encode_png(picture).starts_with("\x89PNG\r\n"));
  CHECK(contact_sheet({{picture, picture}, {picture, picture}}).starts_with("\x89PNG\r\n"));
  for (const int channels : {1, 3}) {
    Picture original{5, 4, channels, {}};
    for (int i = 0; i < 5 * 4 * channels; ++i) original.pixels.push_back(static_cast<std::uint8_t>(i * 37));
    CHECK(decoded(encode_png(original)) == original.pixels);
  }
  CHECK_THROWS_AS(encode_png({2, 2, 3, {1, 2, 3}}), std::invalid_argument);
  CHECK_THROWS_AS(contact_sheet({}), std::invalid_argument);
}

}  // namespace afterimage
