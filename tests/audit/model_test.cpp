// Networks as other programs leave them: names of their own, no model.json, a new head, frozen layers.
#include <catch2/catch.hpp>

#include "audit/control_set.h"
#include "audit/program.h"
#include "models/base/safetensors.h"

namespace afterimage::test {
namespace {

// The weights of a run under the names of a torch.nn.Sequential, without the layers whose names begin with `without`.
void rename_weights(const std::string& from, const std::string& to, const std::string& without = "none") {
  Safetensors content = read_safetensors(from);
  Safetensors renamed;
  for (auto& [name, array] : content.arrays) {
    if (name.starts_with(without)) continue;
    const int layer = name[2] - '1';
    renamed.arrays.emplace_back("layers." + std::to_string(2 * layer) + name.substr(3), std::move(array));
  }
  write_safetensors(to, renamed);
}

// The files of a run, its weights renamed and the base without the layers whose names begin with `new_layers`, as audit
// takes them.
std::string renamed_files(const Folder& folder, const std::string& run_folder, const std::string& new_layers) {
  rename_weights(run_folder + "/trained.safetensors", folder / "trained.safetensors");
  rename_weights(run_folder + "/initial.safetensors", folder / "base.safetensors", new_layers);
  write_control(run_folder, folder / "control.npz");
  return "audit --initial " + (folder / "base.safetensors") + " --trained " + (folder / "trained.safetensors") +
         " --training-set " + run_folder + "/training-set.npz --control npz:" + (folder / "control.npz") +
         " --attacks finite-width --quiet --out ";
}

}  // namespace

TEST_CASE("weights without a description, under other names and with a head of unknown start, give their images up") {
  const Folder folder;
  const std::string run_folder = small_run(folder);
  const std::string files = renamed_files(folder, run_folder, "fc3");
  const Result found = run(files + (folder / "report") + " --task odd-even");
  INFO(found.err);
  REQUIRE(found.code == 0);
  CHECK(found.err.find("inferred mlp:128,128") != std::string::npos);
  const auto report = json_in(folder / "report/report.json");
  CHECK(report["model"]["architecture"] == "mlp:128,128");
  CHECK(report["findings"][0]["reconstructed"]["count"].get<int>() >= 6);
  CHECK(report["threat_model"]["does_not_know"].dump().find("where the last layer began") != std::string::npos);

  const Result without_task = run(files + (folder / "other"));
  CHECK(without_task.code == 2);
  CHECK(without_task.err.find("--task") != std::string::npos);
  CHECK(lines_in(without_task.err) == 1);
  CHECK_FALSE(fs::exists(folder / "other"));
}

TEST_CASE("a layer that was frozen is seen, left out of the features, and the images come back through the others") {
  const Folder folder;
  const std::string run_folder = small_run(folder, "run", "--freeze fc2");
  const Result compared = run("inspect " + run_folder + "/initial.safetensors " + run_folder + "/trained.safetensors");
  CHECK(compared.code == 0);
  CHECK(compared.out.find("frozen, or never reached by training: fc2.weight, fc2.bias") != std::string::npos);
  CHECK(compared.out.find("has rank 7") != std::string::npos);  // 8 images less their mean
  REQUIRE(run("audit " + run_folder + " --attacks finite-width,flow --quiet --out " + (folder / "report")).code == 0);
  const auto findings = json_in(folder / "report/report.json")["findings"];
  CHECK(findings[0]["reconstructed"]["count"].get<int>() >= 6);
  CHECK(findings[1]["status"] == "not-applicable");
}

TEST_CASE("a layer below the head that the base model has not is refused by its name") {
  const Folder folder;
  const std::string run_folder = small_run(folder);
  const Result refused = run(renamed_files(folder, run_folder, "fc2") + (folder / "report") + " --task odd-even");
  CHECK(refused.code == 4);
  CHECK(refused.err.find("layers.2.weight") != std::string::npos);
  CHECK_FALSE(fs::exists(folder / "report"));
}

}  // namespace afterimage::test
