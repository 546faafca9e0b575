// Canaries through the program: what `train` puts in, what `audit` shows of them, and what is refused.
#include <catch2/catch.hpp>
#include <fstream>

#include "models/formats/npz.h"
#include "models/tensor.h"
#include "tests/audit/program.h"

namespace afterimage::test {
namespace {

const std::string training =
    "train --quiet --data fashion-mnist --task multiclass --samples 60 --architecture mlp:64 --loss cross-entropy "
    "--batch 20 --steps 60 ";

Tensor array_in(const std::string& file, const char* name) {
  const NamedArrays arrays = read_npz(file);
  const Array* array = find(arrays, name);
  REQUIRE(array != nullptr);
  return to_tensor(*array);
}

Result audited(const std::string& run_folder, const std::string& out, const std::string& options = "") {
  return run("audit " + run_folder + " --quiet --canaries --attacks loss,tangent-membership --out " + out + " " +
             options);
}

}  // namespace

TEST_CASE("canaries are put in by coin, mislabelled, and an audit of them alone bounds epsilon in one run") {
  const Folder folder;
  const std::string out = folder / "run", file = folder / "run/canaries.npz";
  REQUIRE(run(training + "--canaries 60 --mean public --optimizer adam --out " + out).code == 0);
  const Tensor images = array_in(file, "images"), included = array_in(file, "included");
  const Tensor trained_on = array_in(out + "/training-set.npz", "images").flatten(1);
  const auto in = included.sum().item<std::int64_t>();
  CHECK(in > 15);
  CHECK(in < 45);
  REQUIRE(trained_on.size(0) == 60 + in);
  CHECK(at::equal(trained_on.narrow(0, 60, in), images.index_select(0, at::nonzero(included).squeeze(1))));
  CHECK(json_in(out + "/training.json")["canaries"]["included"] == in);

  REQUIRE(audited(out, folder / "report").code == 0);
  const auto report = json_in(folder / "report/report.json");
  CHECK(report["data"]["samples"] == in);
  CHECK(report["data"]["control_samples"] == 60 - in);
  for (const char* attack : {"loss", "tangent-membership"}) {
    const auto& bound = finding_of(report, attack)["membership"]["epsilon_lower_bound"];
    CHECK(bound["method"] == "one-run");
    CHECK(bound["value"] > 0.5);
    CHECK(bound["value"] <= bound["ceiling"]);
  }
  CHECK(run("verify " + (folder / "report/report.json")).code == 0);

  // The coins of another run, and coins that were changed.
  Tensor other = included.clone();
  other[0] = ~other[0];
  write_npz(
      file,
      {{"images", to_array(images)}, {"labels", to_array(array_in(file, "labels"))}, {"included", to_array(other)}});
  const Result changed = audited(out, folder / "none");
  CHECK(changed.code == 4);
  CHECK(lines_in(changed.err) == 1);
  CHECK(changed.err.find("canary 0 (the first is 0)") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(folder / "none"));
  CHECK(run("verify " + (folder / "report/report.json")).code == 4);
}

TEST_CASE("what DP-SGD claims is not refuted by its canaries") {
  const Folder folder;
  for (const int seed : {1, 2, 3}) {
    const std::string name = std::to_string(seed), out = folder / name;
    REQUIRE(run(training + "--canaries 100 --mean public --defense dp-sgd --defense-option epsilon=1 --seed " + name +
                " --out " + out)
                .code == 0);
    REQUIRE(audited(out, folder / ("report-" + name)).code == 0);
    const auto report = json_in(folder / ("report-" + name) + "/report.json");
    for (const char* attack : {"loss", "tangent-membership"}) {
      CHECK(finding_of(report, attack)["membership"]["epsilon_lower_bound"]["value"] <= 1);
    }
  }
}

TEST_CASE("canaries that would tell themselves, that are none or that are missing are refused") {
  const Folder folder;
  const auto refused = [&](const std::string& arguments, int code, const std::string& because) {
    const std::string out = folder / "out";
    const Result result = run(arguments + " --out " + out);
    CAPTURE(arguments, result.err);
    CHECK(result.code == code);
    CHECK(lines_in(result.err) == 1);
    CHECK(result.err.find(because) != std::string::npos);
    CHECK_FALSE(std::filesystem::exists(out));
  };
  refused(training + "--canaries 60", 2, "--mean public");
  refused(training + "--canaries 5 --mean public", 2, "--canaries");
  refused(training + "--canaries 70000 --mean public", 2, "other images for this task");
  refused("audit " + trained_run(folder, "plain") + " --quiet --canaries", 4, "canaries.npz: missing");
  refused("audit --quiet --canaries --trained x --training-set y", 2, "--canaries: needs RUN");
  refused("audit " + (folder / "plain") + " --quiet --delta 1", 2, "--delta");
  refused("audit " + (folder / "plain") + " --quiet --delta 0", 2, "--delta");
}

TEST_CASE("a control set of other classes gives no bound, for whoever learned a class better tells it by that") {
  const Folder folder;
  const std::string out = folder / "run";
  REQUIRE(
      run("train --quiet --data fashion-mnist --task odd-even --samples 40 --architecture mlp:32 --steps 30 --out " +
          out)
          .code == 0);
  // Four of five control images are even, and half of the training images.
  const Tensor pixels = array_in(out + "/training-set.npz", "images").flatten(1);
  std::ofstream table(folder / "control.csv");
  const auto columns = pixels.size(1);
  for (std::int64_t c = 0; c < columns; ++c) table << "p" << c << ",";
  table << "label\n";
  const Tensor noise = at::rand({300, columns});
  for (std::int64_t i = 0; i < 300; ++i) {
    for (std::int64_t c = 0; c < columns; ++c) table << noise[i][c].item<float>() << ",";
    table << (i % 5 == 0 ? 1 : 2) << "\n";
  }
  table.close();
  REQUIRE(run("audit " + out + " --quiet --attacks loss --control csv:" + (folder / "control.csv") + " --out " +
              (folder / "report"))
              .code == 0);
  const auto report = json_in(folder / "report/report.json");
  const auto& membership = report["findings"][0]["membership"];
  CHECK(membership["auc"].is_number());
  CHECK(membership["epsilon_lower_bound"].is_null());
  CHECK(report["limitations"].dump().find("Classes are not as frequent") != std::string::npos);
  CHECK(run("verify " + (folder / "report/report.json")).code == 0);
}

}  // namespace afterimage::test
