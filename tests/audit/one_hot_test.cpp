#include <algorithm>
#include <catch2/catch.hpp>

#include "models/formats/npz.h"
#include "models/tensor.h"
#include "tests/audit/program.h"

namespace afterimage::test {
namespace {

constexpr std::int64_t rows = 90, groups = 4, levels = 3;

// Rows of one-hot columns as DATA; `spoilt`: each lacks the last group's level in three of its rows.
std::string table(const Folder& folder, bool spoilt) {
  Generator random = seeded(3);
  Tensor images = at::one_hot(at::randint(levels, {rows, groups}, random, at::kLong), levels)
                      .view({rows, groups * levels})
                      .to(at::kFloat);
  if (spoilt) images.slice(1, (groups - 1) * levels).fill_(0);
  const std::string file = folder / (spoilt ? "spoilt.npz" : "rows.npz");
  write_npz(file, {{"images", to_array(images)}, {"labels", to_array(at::arange(rows).remainder(2))}});
  return "npz:" + file;
}

bool knows_groups(const std::string& report) {
  const auto knows = json_in(report)["threat_model"]["knows"].get<std::vector<std::string>>();
  return std::any_of(knows.begin(), knows.end(),
                     [](const std::string& text) { return text == "which columns are levels of one value: 4 groups"; });
}

}  // namespace

TEST_CASE("groups of one-hot columns are seen in the control set, and not where rows do not fit them") {
  const Folder folder;
  for (const bool spoilt : {false, true}) {
    const std::string run_folder = folder / (spoilt ? "run-spoilt" : "run"), out = run_folder + "-report";
    const Result trained =
        run("train --quiet --data " + table(folder, spoilt) +
            " --task odd-even --samples 6 --architecture mlp:16 --mean none --steps 20 --out " + run_folder);
    INFO(trained.err);
    REQUIRE(trained.code == 0);
    const Result audited = run("audit --quiet " + run_folder + " --attacks span --out " + out);
    INFO(audited.err);
    REQUIRE(fs::exists(out + "/report.json"));
    CHECK(knows_groups(out + "/report.json") == !spoilt);
  }
}

TEST_CASE("nothing with two levels of a value is confirmed of a table, and the page shows its rows by their levels") {
  const std::string data = std::string(TEST_DATA) + "/one-hot/";
  const Folder folder;
  const Result audited =
      run("audit --quiet --initial " + data + "initial.npz --trained " + data + "trained.npz --model " + data +
          "model.json --training-set " + data + "training.npz --control npz:" + data +
          "control.npz --attacks span,vertices,finite-width --steps 600 --out " + (folder / "report"));
  INFO(audited.out + audited.err);
  REQUIRE(fs::exists(folder / "report/report.json"));
  const auto report = json_in(folder / "report/report.json");
  CHECK(report["data"]["kind"] == "record");
  CHECK(report["data"]["one_hot"] == std::vector<int>(8, 4));
  for (const auto& finding : report["findings"]) {
    if (!finding["confirmed"].is_null()) CHECK(finding["confirmed"]["count"] == finding["confirmed"]["right"]);
  }
  const std::string page = contents(folder / "report/report.html");
  CHECK(page.find("class=\"records\"") != std::string::npos);
  CHECK(page.find(">29 to 32</th>") != std::string::npos);
  CHECK(audited.out.find("training records") != std::string::npos);
  CHECK(run("verify " + (folder / "report/report.json")).code == audited.code);
}

}  // namespace afterimage::test
