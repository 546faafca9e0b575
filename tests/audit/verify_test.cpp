// Changed reports, and changed files beside them.
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>

#include "models/formats/npz.h"
#include "models/tensor.h"
#include "tests/audit/program.h"

namespace afterimage::test {

TEST_CASE("verify accepts a report as it was written and refuses changed numbers, verdicts and inputs") {
  const Folder folder;
  const std::string run_folder = small_run(folder);
  write(folder / "strict.json", strict);
  REQUIRE(
      run("audit " + run_folder + " --quiet --policy " + (folder / "strict.json") + " --out " + (folder / "r")).code ==
      1);
  const std::string report = folder / "r/report.json";
  CHECK(run("verify " + report).code == 1);  // verified; the verdict is fail
  const auto original = json_in(report);
  const auto refused = [&](const std::function<void(nlohmann::json&)>& change, const std::string& because) {
    auto changed = original;
    change(changed);
    write(report, changed.dump());
    const Result result = run("verify " + report);
    CAPTURE(because, result.err);
    CHECK(result.code == 4);
    CHECK(lines_in(result.err) == 1);
    CHECK(result.err.find(because) != std::string::npos);
  };
  const auto none = nlohmann::json{{"count", 0}, {"of", 8}, {"rate", 0.0}, {"ci95", {0.0, 0.369}}};
  refused([&](auto& r) { finding_of(r, "vertices")["reconstructed"] = none; }, "the reconstructed of vertices");
  refused([](auto& r) { finding_of(r, "vertices")["reconstructed"]["count"] = 0; }, "count");
  refused(
      [](auto& r) {
        finding_of(r, "vertices")["p_value"] = finding_of(r, "vertices")["p_value"].template get<double>() / 2;
      },
      "the p_value of vertices");
  refused([](auto& r) { finding_of(r, "vertices")["mean_ssim"] = 0.5; }, "the mean_ssim of vertices");
  refused([](auto& r) { finding_of(r, "vertices")["confirmed"]["right"] = 0; }, "the confirmed of vertices");
  refused([](auto& r) { finding_of(r, "vertices")["control"]["ci95"][1] = 0.5; }, "the control of vertices");
  refused([](auto& r) { finding_of(r, "vertices")["samples"][0]["relative_distance"] = 0.4; },
          "the samples of vertices");
  refused([](auto& r) { finding_of(r, "vertices")["status"] = "not-applicable"; }, "the status of vertices");
  refused([](auto& r) { r["verdict"] = "pass"; }, "the verdict is pass");
  refused([](auto& r) { r["findings"][0]["membership"]["auc"] = 0.5; }, "the membership of span");
  for (const char* attack : {"span", "loss", "tangent-membership", "tangent-background"}) {
    for (const char* key : {"value", "ceiling", "guesses"}) {
      refused([&](auto& r) { finding_of(r, attack)["membership"]["epsilon_lower_bound"][key] = 1; },
              std::string("the membership of ") + attack);
    }
  }
  refused([](auto& r) { r["gate"]["policy"]["max_reconstructed_rate"] = 0.99; }, "the gate's rules");
  refused([](auto& r) { r["gate"]["policy"]["unknown"] = 1; }, "unknown key");
  refused(
      [](auto& r) {  // the finding with the most images is removed, and so is its control count
        auto& all = r["findings"];
        all.erase(std::find_if(all.begin(), all.end(), [](const auto& f) { return f["attack"] == "finite-width"; }));
        r["gate"] = nullptr;
        r["verdict"] = "not-gated";
      },
      "has arrays but no finding");
  refused(
      [](auto& r) {
        r["findings"].push_back(finding_of(r, "vertices"));
        r["findings"].back()["attack"] = "../run/training-set";
      },
      "is no attack");
  auto renamed = original;
  renamed["inputs"][0]["name"] = std::string(300, 'x');  // longer than a file's name may be
  write(report, renamed.dump());
  const Result without = run("verify " + report);
  CHECK(without.code == 1);
  CHECK(without.out.find("but for the hashes of 1 inputs that were not found") != std::string::npos);
  write(report, original.dump());
  CHECK(run("verify " + report).code == 1);
  // The report of another network, consistent in itself, under the names of this one's files.
  const std::string other = small_run(folder, "other", "--seed 2");
  REQUIRE(run("audit " + other + " --quiet --attacks span --out " + (folder / "r2")).code != 4);
  auto changed = json_in(folder / "r2/report.json");
  changed["inputs"] = original["inputs"];
  write(folder / "r2/report.json", changed.dump());
  const Result borrowed = run("verify " + (folder / "r2/report.json"));
  CHECK(borrowed.code == 4);
  CHECK(borrowed.err.find("other images") != std::string::npos);
  // Arrays that do not fit.
  const auto spoilt = [&](const std::string& name, const std::string& array, const auto& spoil) {
    const std::string file = folder / ("r/" + name), before = contents(file);
    NamedArrays arrays = read_npz(file);
    for (auto& [key, value] : arrays) {
      if (key == array) value = to_array(spoil(to_tensor(value)));
    }
    write_npz(file, arrays);
    const Result result = run("verify " + report);
    CAPTURE(name, array, result.err);
    CHECK(result.code == 4);
    CHECK(lines_in(result.err) == 1);
    CHECK(result.err.find(name) != std::string::npos);
    write(file, before);
  };
  const auto fewer = [](const Tensor& t) { return t.narrow(0, 0, t.size(0) - 1).contiguous(); };
  const auto flat = [](const Tensor& t) { return t.reshape({-1}); };
  for (const char* array : {"images", "confirmed", "coefficients"}) {
    spoilt("finite-width.npz", array, fewer);
    spoilt("finite-width.npz", array, [](const Tensor& t) { return t.to(at::kLong); });
  }
  for (const char* array : {"images", "coefficients"}) spoilt("finite-width.npz", array, flat);
  spoilt("finite-width.npz", "images", [](const Tensor& t) { return t * std::nan(""); });
  spoilt("finite-width.npz", "status", [](const Tensor& t) { return t + 7; });
  spoilt("finite-width.npz", "status", [](const Tensor& t) { return t.repeat({2}); });
  spoilt("finite-width.npz", "status", [](const Tensor& t) { return t.to(at::kLong); });
  for (const char* array : {"membership_training", "membership_control"}) spoilt("span.npz", array, fewer);
  for (const char* array : {"training", "labels", "mean"}) spoilt("scoring.npz", array, fewer);
  for (const char* array : {"training", "control"}) spoilt("scoring.npz", array, flat);
  write(run_folder + "/model.json", contents(run_folder + "/model.json") + " ");
  CHECK(run("verify " + report).code == 4);
}

TEST_CASE("verify refuses a result for an inconclusive attack, and lists what it does not check") {
  const Folder folder;
  const std::string out = folder / "r", report = out + "/report.json";
  REQUIRE(
      run("audit " + small_run(folder) + " --quiet --attacks span,vertices --memory-limit 1MiB --out " + out).code ==
      3);
  const std::string of_status = "its status was not checked";
  const Result written = run("verify " + report);
  CHECK(written.code == 3);
  CHECK(written.out.find("not checked: reasons") != std::string::npos);
  CHECK(written.out.find(of_status) == std::string::npos);
  const auto original = json_in(report);
  for (const char* status : {"ok", "not-applicable"}) {
    auto changed = original;
    changed["findings"][0]["status"] = "ok";
    changed["findings"][1]["status"] = status;
    changed["findings"][0]["reason"] = changed["findings"][1]["reason"] = "";
    changed["verdict"] = "not-gated";
    write(report, changed.dump());
    const Result refused = run("verify " + report);
    CHECK(refused.code == 4);
    CHECK(lines_in(refused.err) == 1);
    CHECK(refused.err.find("the status of span is ok but its arrays say inconclusive") != std::string::npos);
  }
  auto fewer = original;
  fewer["findings"].erase(1);
  write(report, fewer.dump());
  CHECK(run("verify " + report).err.find("vertices has arrays but no finding") != std::string::npos);
  // As earlier versions wrote it.
  write(report, original.dump());
  for (const char* file : {"/span.npz", "/vertices.npz"}) fs::remove(out + file);
  const Result older = run("verify " + report);
  CHECK(older.code == 3);
  CHECK(older.out.find(of_status) != std::string::npos);
}

}  // namespace afterimage::test
