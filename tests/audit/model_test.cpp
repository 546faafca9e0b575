// Networks as other programs leave them: names of their own, no model.json, a new head, frozen layers.
#include <catch2/catch.hpp>

#include "audit/control_set.h"
#include "audit/program.h"
#include "models/base/npz.h"
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

TEST_CASE("a network of which the head alone was trained tells its training images by their features") {
  const Folder folder;
  const std::string run_folder = folder / "run";
  REQUIRE(run("train --quiet --data fashion-mnist --task multiclass --samples 6 --architecture mlp:128,128 --freeze "
              "fc1,fc2 --learning-rate 0.05 --steps 3000 --out " +
              run_folder)
              .code == 0);
  const Result compared = run("inspect " + run_folder + "/initial.safetensors " + run_folder + "/trained.safetensors");
  CHECK(compared.out.find("the last layer's change has rank 6") != std::string::npos);
  const Result audit = run("audit " + run_folder + " --attacks span,finite-width --quiet --out " + (folder / "report"));
  CHECK(audit.code == 0);
  const auto findings = json_in(folder / "report/report.json")["findings"];
  CHECK(findings[0]["status"] == "ok");
  CHECK(findings[0]["evidence"]["rank"] == 6);
  CHECK(findings[0]["membership"]["auc"] == 1.0);
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

TEST_CASE("a run directory may hold a PyTorch checkpoint with several state dicts, of which --key names one") {
  const Folder folder;
  const std::string fixtures = std::string(TEST_DATA) + "/pytorch/2.13/", in = folder / "run";
  fs::create_directory(in);
  fs::copy_file(fixtures + "network.pt", in + "/initial.pt");
  fs::copy_file(fixtures + "network-two.pt", in + "/trained.pt");
  write(in + "/model.json",
        R"({"architecture": "mlp:8,5", "input_shape": [2, 3], "outputs": 3, "task": "multiclass", "loss": "squared"})");
  const auto images = [](std::int64_t count) {
    std::vector<float> values;
    for (std::int64_t i = 0; i < 6 * count; ++i) values.push_back(static_cast<float>(i * 37 % 101 + count) / 200);
    return array_of({count, 2, 3}, values);
  };
  const auto labels = [](std::int64_t count) { return array_of({count}, std::vector<std::int64_t>(count, 1)); };
  write_npz(in + "/training-set.npz", {{"images", images(4)}, {"labels", labels(4)}});
  write_npz(folder / "control.npz", {{"images", images(30)}, {"labels", labels(30)}});
  const std::string command = "deviation " + in + " --quiet --control npz:" + (folder / "control.npz");
  const Result without = run(command), with = run(command + " --key model");
  CHECK(without.code == 4);
  CHECK(without.err.find("--key: model, ema") != std::string::npos);
  INFO(with.err);
  CHECK(with.code == 0);
  fs::remove(in + "/trained.pt");
  fs::copy_file(in + "/initial.pt", in + "/trained.pt");
  CHECK(run(command + " --key nothing").code == 2);
}

}  // namespace afterimage::test
