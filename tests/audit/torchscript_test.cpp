// A TorchScript network in every command, and refusals without --allow-torchscript.
#include <ATen/ATen.h>

#include <catch2/catch.hpp>

#include "models/formats/npz.h"
#include "models/parameters.h"
#include "models/scripted_network.h"
#include "models/weights.h"
#include "tests/audit/program.h"

namespace afterimage::test {
namespace {

const std::string archive = std::string(TEST_DATA) + "/conv-traced.pt";  // [1, 8, 8] to two outputs

// 200 pictures of 8 x 8 with two classes: bright above, or bright below.
std::string pictures(const Folder& folder, const std::string& name = "pictures", std::uint64_t seed = 6) {
  Generator random = seeded(seed);
  const Tensor labels = at::arange(200).remainder(2);
  Tensor images = at::rand({200, 8, 8}, random, at::kFloat) * 0.5;
  for (std::int64_t i = 0; i < 200; ++i) images[i].narrow(0, 4 * (i % 2), 4).add_(0.5);
  const std::string file = folder / (name + ".npz");
  write_npz(file, {{"images", to_array(images)}, {"labels", to_array(labels)}});
  return "npz:" + file;
}

std::string conv_run(const Folder& folder, const std::string& name, const std::string& options) {
  const std::string out = folder / name;
  const Result trained = run("train --quiet --allow-torchscript --data " + pictures(folder) +
                             " --task multiclass --samples 4 --architecture torchscript:" + archive +
                             " --learning-rate 0.05 --steps 300 --out " + out + " " + options);
  if (trained.code != 0) throw std::runtime_error("training failed: " + trained.err);
  return out;
}

}  // namespace

TEST_CASE("a convolutional archive is trained and audited, and attacks on dense layers do not apply") {
  const Folder folder;
  const std::string trained = conv_run(folder, "run", "");
  const std::string out = folder / "report";
  const Result audit = run("audit --quiet " + trained +
                           " --allow-torchscript --control-samples 40 --candidates 4 "
                           "--steps 60 --out " +
                           out);
  CAPTURE(audit.err);
  CHECK((audit.code == 0 || audit.code == 3));
  const auto report = json_in(out + "/report.json");
  for (const auto& finding : report["findings"]) {
    const std::string attack = finding["attack"];
    CAPTURE(attack, finding["reason"]);
    if (attack == "finite-width") {
      CHECK(finding["relative_loss"].get<double>() < 1);
      CHECK(finding["iterations"].get<int>() >= 60);
    } else if (finding["membership"].is_object()) {  // loss and tangents take any network
      CHECK(finding["status"] == "ok");
    } else {
      CHECK(finding["status"] == "not-applicable");
      CHECK_FALSE(finding["reason"].get<std::string>().empty());
    }
  }
  CHECK(report["model"]["architecture"] == "torchscript:network.pt");
  CHECK(report["deviation"]["kernel_distance"].is_number());
  CHECK(report["deviation"]["residual_at_truth"].is_number());
  const auto& inputs = report["inputs"];
  CHECK(std::any_of(inputs.begin(), inputs.end(), [](const auto& input) { return input["role"] == "network"; }));
  CHECK(run("verify " + out + "/report.json --quiet").code == audit.code);
}

TEST_CASE("weights of a scripted network may come from archives, and frozen ones are left out") {
  const Folder folder;
  const std::string trained = conv_run(folder, "run", "--freeze conv.");
  const Parameters initial = read_parameters(trained + "/initial.safetensors");
  const Parameters after = read_parameters(trained + "/trained.safetensors");
  CHECK(initial.at("conv.weight").equal(after.at("conv.weight")));
  CHECK_FALSE(initial.at("fc.weight").equal(after.at("fc.weight")));
  CHECK(json_in(trained + "/training.json")["recipe"]["freeze"] == nlohmann::json::array({"conv."}));
  const std::string common = " --model " + trained + "/model.json --training-set " + trained +
                             "/training-set.npz --control " + pictures(folder, "others", 7) +
                             " --allow-torchscript --quiet";
  fs::copy_file(archive, folder / "initial.pt");
  const Result archives =
      run("deviation --initial " + (folder / "initial.pt") + " --trained " + trained + "/trained.safetensors" + common);
  CAPTURE(archives.err);
  CHECK(archives.code == 0);
  const Result same = run("deviation --initial " + archive + " --trained " + archive + common);
  CHECK(same.code == 4);
  CHECK(same.err.find("same weights") != std::string::npos);
}

TEST_CASE("without --allow-torchscript no code of an archive is run, and it is refused in one line") {
  const Folder folder;
  const std::string trained = conv_run(folder, "run", "--freeze conv.");
  const std::string out = folder / "out";
  for (const std::string& command :
       {"audit " + trained + " --out " + out, "deviation " + trained + " --out " + out,
        "attack finite-width " + trained + " --out " + out,
        "train --data " + pictures(folder) + " --task multiclass --samples 4 --architecture torchscript:" + archive +
            " --out " + out}) {
    CAPTURE(command);
    const Result refused = run(command + " --quiet");
    CHECK(refused.code == 2);
    CHECK(lines_in(refused.err) == 1);
    CHECK(refused.err.find("--allow-torchscript") != std::string::npos);
    CHECK_FALSE(fs::exists(out));
  }
}

TEST_CASE("an archive that does not fit is refused before anything is written") {
  const Folder folder;
  const std::string data = pictures(folder), out = folder / "out";
  write(folder / "rubbish.pt", "not an archive");
  for (const std::string& file :
       {folder / "rubbish.pt", folder / "missing.pt", std::string(TEST_DATA) + "/dropout-traced.pt"}) {
    CAPTURE(file);
    const Result refused = run("train --quiet --allow-torchscript --data " + data +
                               " --task multiclass --samples 4 --architecture torchscript:" + file + " --out " + out);
    CHECK(refused.code == 4);
    CHECK(lines_in(refused.err) == 1);
    CHECK(refused.err.find(file) != std::string::npos);
    CHECK_FALSE(fs::exists(out));
  }
}

}  // namespace afterimage::test
