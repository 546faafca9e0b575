// Reports on rows of a table: their values, the table of the page, and words.
#include <catch2/catch.hpp>
#include <string>

#include "models/foundations/error.h"
#include "reports/html.h"
#include "reports/wording.h"

namespace afterimage {
namespace {

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++count;
  return count;
}

bool says(const std::string& text, const std::string& part) { return count_of(text, part) > 0; }

// The page without the JSON in it.
std::string page_of(const Report& report) {
  std::string page = render_html(report);
  const auto begin = page.find("id=\"report\"");
  return page.erase(begin, page.find("</script>", begin) - begin);
}

// Two records of age, of one of three colours, and of weight.
Report table_report() {
  Report report;
  report.tool = {"afterimage", "0.1.0", "1.13.1", "cpu", 2, 7, "afterimage audit images/run --out report"};
  report.model = {"mlp:8", "standard", 81, {5}, 1};
  report.data = {"csv:images/table.csv", "classes:0,1", 2, 5, 200, "csv:images/table.csv"};
  report.data.kind = InputKind::record;
  report.data.columns = {"age", "colour_red", "colour_green", "colour_blue", "weight"};
  report.data.one_hot = {1, 3, 1};
  Finding finding;
  finding.attack = "finite-width";
  finding.reconstructed = rate_of(1, 2);
  finding.control = rate_of(0, 100);
  finding.reason = "found no image of 5 pixels in image.npz";
  Sample exact{0, "1", 0.01, 0.02, {}, {}, true, "", ""}, other{1, "0", 1.0, 0.8, {}, {}, false, "", ""};
  exact.original = {0.25, 0, 1, 0, 0.5};
  exact.reconstruction = {0.2567, 0.1, 0.9, 0, 0.51};
  other.original = {0.75, 1, 0, 0, 0.125};
  other.reconstruction = {0.375, 0, 0, 0.7, 0.13};
  finding.samples = {exact, other};
  report.findings = {finding};
  return report;
}

}  // namespace

TEST_CASE("a report on records comes back from its JSON with values, columns and groups") {
  const Json document = to_json(table_report());
  CHECK(document["data"]["kind"] == "record");
  CHECK(document["findings"][0]["samples"][1]["reconstruction"][3] == 0.7);
  CHECK(to_json(report_from_json(Json::parse(document.dump()), "r.json")).dump() == document.dump());
}

TEST_CASE("the page shows records as rows of named columns, levels by their names, and marks what differs") {
  const std::string page = page_of(table_report());
  for (const char* heading : {">age</th>", ">colour</th>", ">weight</th>"}) CHECK(says(page, heading));
  CHECK_FALSE(says(page, "colour_red"));
  CHECK(count_of(page, "<td class=\"num\">green</td>") == 2);        // original and reconstruction
  CHECK(count_of(page, "<td class=\"num\">red</td>") == 1);          // original
  CHECK(says(page, "<td class=\"num differs\"><b>blue</b></td>"));   // in its place
  CHECK(says(page, "<td class=\"num differs\"><b>0.375</b></td>"));  // 0.75
  CHECK(says(page, "<td class=\"num\">0.2567</td>"));                // by less than what is marked
  CHECK(count_of(page, "differs\"") == 2);
  CHECK(says(page, "came back"));
}

TEST_CASE("columns without names have numbers, and groups without a common name the names of their ends") {
  Report report = table_report();
  report.data.columns = {};
  CHECK(says(page_of(report), ">2 to 4</th>"));
  report.data.columns = {"age", "red", "green", "blue", "weight"};
  const std::string page = page_of(report);
  CHECK(says(page, ">red to blue</th>"));
  CHECK(says(page, "<td class=\"num\">green</td>"));
  report.data.one_hot = {};
  CHECK(says(page_of(report), ">green</th>"));
}

TEST_CASE("a page on records calls them so, and names of files, attacks and options stay as they are") {
  Report report = table_report();
  word(report);
  CHECK(report.findings[0].reason == "found no record of 5 columns in image.npz");
  CHECK(report.data.source == "csv:images/table.csv");
  const std::string page = page_of(report);
  CHECK(says(page, "reconstructed 1 of 2 training records"));
  CHECK(says(page, "Which") == false);  // no exposure
  CHECK(says(page, "images/table.csv"));
  CHECK(worded(report.data, "see --image, \"images\" and a-pixel: an image, images.") ==
        "see --image, \"images\" and a-pixel: a record, records.");
  report.data.kind = InputKind::image;
  CHECK(worded(report.data, "an image") == "an image");
  CHECK(says(page_of(report), "reconstructed 1 of 2 training images"));
}

TEST_CASE("names of columns from a file are escaped in the page") {
  Report report = table_report();
  report.data.columns[0] = "<script>alert(1)</script>";
  report.data.columns[1] = report.data.columns[2] = report.data.columns[3] = "\"><img src=x>";
  const std::string page = page_of(report);
  CHECK_FALSE(says(page, "<script>alert"));
  CHECK_FALSE(says(page, "<img src=x"));
}

TEST_CASE("values that do not fit the columns are not shown, however many columns a report claims") {
  Report report = table_report();
  report.data.columns = {};
  report.data.one_hot = {};
  report.data.dimension = std::int64_t{1} << 60;
  CHECK_FALSE(says(page_of(report), "class=\"records\""));
  report.data.dimension = 5;
  report.findings[0].samples[0].reconstruction.pop_back();
  CHECK(count_of(page_of(report), "<td>original</td>") == 1);
}

TEST_CASE("columns or groups that do not add up to the dimension are refused") {
  for (const char* key : {"columns", "one_hot"}) {
    Json document = to_json(table_report());
    document["data"][key].erase(0);
    CHECK_THROWS_AS(report_from_json(document, "r.json"), InputError);
  }
  Json document = to_json(table_report());
  document["data"]["kind"] = "photo";
  CHECK_THROWS_AS(report_from_json(document, "r.json"), InputError);
}

TEST_CASE("a report that does not say what its inputs are is one on images") {
  Json document = to_json(table_report());
  for (const char* key : {"kind", "columns", "one_hot"}) document["data"].erase(key);
  CHECK(report_from_json(document, "r.json").data.kind == InputKind::image);
}

}  // namespace afterimage
