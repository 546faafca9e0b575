// Networks of other programs: other names, no model.json, a new head, frozen layers.
#include <catch2/catch.hpp>

#include "audit/run_directory.h"
#include "models/formats/npz.h"
#include "models/formats/safetensors.h"
#include "models/foundations/error.h"
#include "tests/audit/control_images.h"
#include "tests/audit/program.h"

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

TEST_CASE("images are reconstructed without model.json, under other names and with an unknown initial head") {
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
  CHECK(report["threat_model"]["does_not_know"].dump().find("the last layer's initial weights") != std::string::npos);

  const Result without_task = run(files + (folder / "other"));
  CHECK(without_task.code == 2);
  CHECK(without_task.err.find("--task") != std::string::npos);
  CHECK(lines_in(without_task.err) == 1);
  CHECK_FALSE(fs::exists(folder / "other"));
}

TEST_CASE("a frozen layer is recognised and left out, and the images are reconstructed from the others") {
  const Folder folder;
  const std::string run_folder = small_run(folder, "run", "--freeze fc2");
  const Result compared = run("inspect " + run_folder + "/initial.safetensors " + run_folder + "/trained.safetensors");
  CHECK(compared.code == 0);
  CHECK(compared.out.find("frozen, or without gradient in training: fc2.weight, fc2.bias") != std::string::npos);
  CHECK(compared.out.find("has rank 7") != std::string::npos);  // 8 images less their mean
  REQUIRE(run("audit " + run_folder + " --attacks finite-width,flow --quiet --out " + (folder / "report")).code == 0);
  const auto findings = json_in(folder / "report/report.json")["findings"];
  CHECK(findings[0]["reconstructed"]["count"].get<int>() >= 6);
  CHECK(findings[1]["status"] == "not-applicable");
}

TEST_CASE("where only the head was trained, training images are recognised by their features") {
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

TEST_CASE("a layer below the head that the base model lacks is refused by its name") {
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

TEST_CASE("a binary task is refused for a network with several outputs, wherever it is given") {
  const Folder folder;
  const std::string in = folder / "run", out = folder / "report";
  REQUIRE(
      run("train --quiet --data fashion-mnist --task multiclass --samples 10 --architecture mlp:8 --steps 5 --out " +
          in)
          .code == 0);
  write_control(in, folder / "control.npz");
  const std::string named = "audit --initial " + in + "/initial.safetensors --trained " + in +
                            "/trained.safetensors --training-set " + in +
                            "/training-set.npz --control npz:" + (folder / "control.npz") +
                            " --task odd-even --attacks span --quiet --out " + out;
  auto model = json_in(in + "/model.json");
  REQUIRE(model["outputs"] == 10);
  model["task"] = "odd-even";
  write(in + "/model.json", model.dump());
  const std::string described = "audit " + in + " --attacks span --quiet --out " + out;
  for (const auto& [arguments, code, source] :
       {std::tuple{named, 2, "--task odd-even"}, {described, 4, "model.json"}}) {
    const Result refused = run(arguments);
    CAPTURE(arguments, refused.err);
    CHECK(refused.code == code);
    CHECK(lines_in(refused.err) == 1);
    CHECK(refused.err.find(source) != std::string::npos);
    CHECK(refused.err.find("10") != std::string::npos);
    CHECK(refused.err.find("multiclass") != std::string::npos);
    CHECK_FALSE(fs::exists(out));
  }
}

TEST_CASE("pictures are resized to the height and width that the network takes, or model.json is refused") {
  const Folder folder;
  const std::string file = folder / "model.json";
  const auto size_in = [&](const std::string& shape, const std::string& size) {
    write(file, R"({"architecture": "mlp:4", "outputs": 1, "task": "odd-even", "input_shape": )" + shape +
                    R"(, "preprocessing": {"resize": )" + size + "}}");
    return read_model(file).preprocessing.size;
  };
  for (const char* shape : {"[12, 10]", "[12, 10, 3]", "[120]", "[360]"}) {
    CAPTURE(shape);
    CHECK(size_in(shape, "[12, 10]") == std::pair<std::int64_t, std::int64_t>(12, 10));
  }
  for (const auto& [shape, size] : {std::pair{"[4, 4]", "[16384, 16384]"},
                                    {"[16]", "[16384, 16384]"},
                                    {"[12, 10]", "[10, 12]"},
                                    {"[12, 10]", "[12, 9]"},
                                    {"[3, 12, 10]", "[12, 10]"},
                                    {"[121]", "[12, 10]"}}) {
    CAPTURE(shape, size);
    CHECK_THROWS_AS(size_in(shape, size), InputError);
  }
}

TEST_CASE("groups of one-hot columns have to fill the input, or model.json is refused") {
  const Folder folder;
  const std::string file = folder / "model.json";
  const auto groups_in = [&](const std::string& groups) {
    write(file, R"({"architecture": "mlp:4", "outputs": 1, "task": "odd-even", "input_shape": [10], "one_hot": )" +
                    groups + "}");
    return read_model(file).one_hot;
  };
  CHECK(groups_in("[5, 3, 2]") == std::vector<std::int64_t>{5, 3, 2});
  for (const char* wrong : {"[5, 3]", "[5, 6]", "[0, 10]", "[11]", "[1, 1, 1, 1, 1, 1, 1, 1, 1, 1]", "[-1, 11]",
                            "[2.5, 7.5]", "5", "[\"a\"]", "[]"}) {
    CAPTURE(wrong);
    CHECK_THROWS_AS(groups_in(wrong), InputError);
  }
}

TEST_CASE("labels of a training set are classes or one-hot rows of any dtype, and others are refused") {
  ModelDescription model;
  model.input_shape = {4};
  const auto classes_in = [&](const Tensor& labels) {
    const NamedArrays arrays = {{"images", to_array(at::zeros({3, 4}))}, {"labels", to_array(labels)}};
    return to_doubles(training_set_of({arrays, {}, {}, ""}, "set.npz", model).labels);
  };
  const Tensor classes = at::tensor({1, 0, 2}, at::kLong), rows = at::one_hot(classes, 3);
  for (const auto dtype : {at::kBool, at::kByte, at::kLong, at::kFloat}) {
    CAPTURE(dtype);
    CHECK(classes_in(rows.to(dtype)) == std::vector<double>{1, 0, 2});
    if (dtype != at::kBool) CHECK(classes_in(classes.to(dtype)) == std::vector<double>{1, 0, 2});
  }
  Generator random = seeded(1);
  for (const Tensor& wrong :
       {at::zeros({3, 0}), at::zeros({3, 2}), at::ones({3, 2}), at::rand({3, 2}, random), at::full({3}, 0.5),
        at::full({3}, NAN), at::full({3}, -1, at::kLong), at::full({3}, 65536, at::kLong), at::zeros({2}, at::kLong),
        at::one_hot(at::zeros({2}, at::kLong), 3), at::zeros({3, 1, 1}), at::zeros({}, at::kLong)}) {
    CAPTURE(wrong.sizes(), wrong.scalar_type());
    CHECK_THROWS_AS(classes_in(wrong), InputError);
  }
}

TEST_CASE("a run directory with a name too long for any file is refused as missing") {
  const Folder folder;
  const Result refused = run("audit " + std::string(300, 'x') + " --quiet --out " + (folder / "report"));
  CHECK(refused.code == 4);
  CHECK(refused.err.find("no such run directory") != std::string::npos);
}

}  // namespace afterimage::test
