// Which input and options the program refuses, with which exit code and which line.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <map>

#include "audit/run_directory.h"
#include "models/formats/npz.h"
#include "models/formats/safetensors.h"
#include "tests/audit/program.h"

namespace afterimage::test {
TEST_CASE("bad usage exits 2 with one line that names what is wrong, and writes nothing") {
  const Folder folder;
  const std::string run_folder = small_run(folder);
  write(folder / "unknown-key.json", R"({"schema": "afterimage.policy/1", "max_reconstructed": 0})");
  write(folder / "cannot-fail.json", R"({"schema": "afterimage.policy/1"})");
  write(folder / "no-attack.json",
        R"({"schema": "afterimage.policy/1", "attacks": {"finite-widht": {"max_reconstructed_rate": 0}}})");
  const std::string out = folder / "out";
  const std::string audit = "audit " + run_folder + " --out " + out + " ";
  const auto train_with = [&](const std::string& changed, const std::string& value) {
    std::string arguments = "train --out " + out;
    std::map<std::string, std::string> options = {
        {"--data", "fashion-mnist"}, {"--task", "odd-even"}, {"--samples", "8"}, {"--architecture", "mlp:16"}};
    options[changed] = value;
    for (const auto& [option, text] : options) arguments += " " + option + " " + text;
    return arguments;
  };
  for (const auto& [arguments, named] : std::vector<std::pair<std::string, std::string>>{
           {"frobnicate", "frobnicate"},
           {"", "subcommand"},
           {"audit " + run_folder, "--out"},
           {audit + "--attacks nonsense", "nonsense"},
           {audit + "--attacks span,vertices,span", "more than once"},
           {audit + "--policy " + (folder / "no-attack.json"), "finite-widht"},
           {"distill kip --data fashion-mnist --task odd-even --samples 8 --out " + out + "/", "is a folder"},
           {audit + "--tangents 1.5", "--tangents"},
           {audit + "--space sideways", "--space"},
           {audit + "--steps many", "--steps"},
           {audit + "--policy " + (folder / "unknown-key.json"), "max_reconstructed"},
           {audit + "--policy " + (folder / "cannot-fail.json"), "can fail"},
           {audit + "--policy " + (folder / "missing.json"), "missing.json"},
           {audit + "--device cuda", "--device"},
           {"audit --initial " + run_folder + "/initial.safetensors --out " + out, "--trained"},
           {"audit --unknown-start --initial " + run_folder + "/initial.safetensors --out " + out, "--unknown-start"},
           {audit + "--attacks kkt --lambda-min -1", "--lambda-min"},
           {train_with("--first-layer-scale", "0"), "--first-layer-scale"},
           {train_with("--loss", "hinge"), "--loss"},
           {train_with("--loss", "cross-entropy"), "cross-entropy"},
           {train_with("--mean", "median"), "--mean"},
           {train_with("--samples", "0"), "--samples"},
           {train_with("--architecture", "cnn:3"), "cnn:3"},
           {train_with("--architecture", "mlp:0"), "mlp:0"},
           {train_with("--task", "odd"), "--task"},
           {train_with("--data", "mnist"), "mnist"},
           {train_with("--learning-rate", "1000"), "diverged"},
           {"attack finite-width " + run_folder, "--out"},
       }) {
    CAPTURE(arguments);
    const Result result = run(arguments + " --quiet");
    CHECK(result.code == 2);
    CHECK(lines_in(result.err) == 1);
    CHECK(result.err.find(named) != std::string::npos);
    CHECK(result.out.empty());
    CHECK_FALSE(fs::exists(out));
  }
  fs::create_directory(out);
  write(out + "/something", "there");
  CHECK(run(audit).code == 2);
  CHECK(std::distance(fs::directory_iterator(out), fs::directory_iterator()) == 1);
}

TEST_CASE("bad input exits 4 with one line that names the file, and writes nothing") {
  const Folder folder;
  const std::string good = small_run(folder);
  int number = 0;
  const auto refused = [&](const std::string& what, const std::string& named, const auto& spoil,
                           const std::string& more = "") {
    CAPTURE(what);
    const std::string spoilt = folder / ("case" + std::to_string(++number));
    fs::copy(good, spoilt);
    spoil(spoilt);
    const Result result = run("audit " + spoilt + " --quiet --out " + (folder / "out") + " " + more);
    CAPTURE(result.err);
    CHECK(result.code == 4);
    CHECK(lines_in(result.err) == 1);
    CHECK(result.err.find(named) != std::string::npos);
    CHECK_FALSE(fs::exists(folder / "out"));
  };
  const auto change_weights = [](const std::string& file, const auto& change) {
    auto content = read_safetensors(file);
    change(content.arrays);
    write_safetensors(file, content);
  };
  refused("a truncated file", "trained.safetensors", [](const std::string& run_folder) {
    const auto bytes = contents(run_folder + "/trained.safetensors");
    write(run_folder + "/trained.safetensors", bytes.substr(0, bytes.size() / 2));
  });
  refused("a terabyte header", "initial.safetensors", [](const std::string& run_folder) {
    write(run_folder + "/initial.safetensors", std::string("\0\0\0\0\0\1\0\0{}", 10));
  });
  refused("the same weights twice", "same weights", [](const std::string& run_folder) {
    fs::copy(run_folder + "/initial.safetensors", run_folder + "/trained.safetensors",
             fs::copy_options::overwrite_existing);
  });
  refused("NaN in the weights", "NaN", [&](const std::string& run_folder) {
    change_weights(run_folder + "/trained.safetensors", [](NamedArrays& arrays) {
      const float nan = std::nanf("");
      std::memcpy(arrays[0].second.bytes.data(), &nan, 4);
    });
  });
  refused("a shape that does not fit", "fc1.bias", [&](const std::string& run_folder) {
    change_weights(run_folder + "/trained.safetensors", [](NamedArrays& arrays) {
      for (auto& [name, array] : arrays) {
        if (name == "fc1.bias") array.shape = {2, 64};
      }
    });
  });
  refused("weights of another network", "mlp:64", [](const std::string& run_folder) {
    auto model = json_in(run_folder + "/model.json");
    model["architecture"] = "mlp:64";
    write(run_folder + "/model.json", model.dump());
  });
  refused("an integer too many in the labels", "training-set.npz", [](const std::string& run_folder) {
    auto arrays = read_npz(run_folder + "/training-set.npz");
    for (auto& [name, array] : arrays) {
      if (name == "labels") array = array_of({1}, std::vector<std::int64_t>{0});
    }
    write_npz(run_folder + "/training-set.npz", arrays);
  });
  refused("labels out of range", "labels", [](const std::string& run_folder) {
    auto arrays = read_npz(run_folder + "/training-set.npz");
    for (auto& [name, array] : arrays) {
      if (name == "labels") array = array_of({8}, std::vector<std::int64_t>{0, 1, 2, 3, 4, 5, 6, -7});
    }
    write_npz(run_folder + "/training-set.npz", arrays);
  });
  refused("infinity in the images", "images", [](const std::string& run_folder) {
    auto arrays = read_npz(run_folder + "/training-set.npz");
    const float infinity = INFINITY;
    for (auto& [name, array] : arrays) {
      if (name == "images") std::memcpy(array.bytes.data(), &infinity, 4);
    }
    write_npz(run_folder + "/training-set.npz", arrays);
  });
  refused("a missing file", "training-set.npz",
          [](const std::string& run_folder) { fs::remove(run_folder + "/training-set.npz"); });
  const Result pytorch = run("audit --initial x.pt --trained y.pt --model " + good + "/model.json --training-set " +
                             good + "/training-set.npz --control fashion-mnist --quiet --out " + (folder / "out"));
  CHECK(pytorch.code == 4);
  CHECK(pytorch.err.find("y.pt") != std::string::npos);
  CHECK(lines_in(pytorch.err) == 1);
}

TEST_CASE("a demo replaces an earlier demo, and leaves other files in its folder") {
  const Folder folder;
  const std::string out = folder / "project";
  fs::create_directories(out + "/report");
  fs::create_directories(out + "/run");
  write(out + "/run/model.json", "mine");
  write(out + "/report/mine", "mine");
  for (const bool marked : {false, true}) {
    if (marked) {
      write(out + "/.afterimage-demo", "");
      write(out + "/notes", "mine");
    }
    CHECK(run("demo --quiet --out " + out).code == 2);
    CHECK(contents(out + "/run/model.json") == "mine");
    CHECK(contents(out + "/report/mine") == "mine");
  }
}

TEST_CASE("a control set of slightly changed training images is refused, as it would hide a leak") {
  const Folder folder;
  const std::string run_folder = small_run(folder);
  const auto model = read_model(run_folder + "/model.json");
  const auto training = read_training_set(run_folder + "/training-set.npz", model);
  Generator random = seeded(1);
  const Tensor noise = 0.01 * at::randn({40, training.images.size(1)}, random);
  const Tensor images = (training.pixels().repeat({5, 1}) + noise).clamp(0, 1).reshape({40, 28, 28});
  write_npz(folder / "near.npz", {{"images", to_array(images)}, {"labels", to_array(training.labels.repeat({5}))}});
  const Result result =
      run("audit " + run_folder + " --quiet --control npz:" + (folder / "near.npz") + " --out " + (folder / "out"));
  CHECK(result.code == 4);
  CHECK(result.err.find("40 of its 40 images are training images or near copies") != std::string::npos);
  CHECK_FALSE(fs::exists(folder / "out"));
}

TEST_CASE("a control set of training images is refused, and a few in one are left out and counted") {
  const Folder folder;
  const std::string run_folder = small_run(folder);
  auto arrays = read_npz(run_folder + "/training-set.npz");
  const Tensor pixels = (to_tensor(*find(arrays, "images")) + to_tensor(*find(arrays, "mean"))).clamp(0, 1);
  const NamedArrays copies = {{"images", to_array(at::cat({pixels, at::rand({30, 28, 28})}))},
                              {"labels", to_array(at::zeros({pixels.size(0) + 30}, at::kLong))}};
  write_npz(folder.at("copies.npz"), copies);
  const Result result =
      run("audit " + run_folder + " --quiet --control npz:" + (folder / "copies.npz") + " --out " + (folder / "out"));
  CHECK(result.code == 4);
  CHECK(result.err.find("8 of its 38 images are training images") != std::string::npos);
  CHECK_FALSE(fs::exists(folder / "out"));
  const Result all =
      run("audit " + run_folder + " --quiet --attacks span --control fashion-mnist --out " + (folder / "all"));
  CHECK(all.out.find("control: 8 of 60000 images are training images") != std::string::npos);
}

TEST_CASE("a PyTorch file that would run code is refused by the function's name, and other files by their content") {
  const Folder folder;
  const std::string data = std::string(TEST_DATA) + "/pytorch/2.13/", canary = folder / "canary";
  write(folder / "shell.pt", "cos\nsystem\n(S'touch " + canary + "'\ntR.");
  write(folder / "inst.pth", "(S'touch " + canary + "'\niposix\nsystem\n.");
  write(folder / "cut.pt", contents(data + "dense.pt").substr(0, 1000));
  for (const auto& [file, named] : std::vector<std::pair<std::string, std::string>>{
           {folder / "shell.pt", "os.system"},
           {folder / "inst.pth", "posix.system"},
           {folder / "cut.pt", "cut off"},
           {data + "module.pt", "torch.nn.modules.container.Sequential"},
           {data + "before-1.6.pt", "before 1.6"},
           {data + "two.pt", "--key"},
       }) {
    CAPTURE(file);
    const Result result = run("inspect " + file);
    CHECK(result.code == 4);
    CHECK(lines_in(result.err) == 1);
    CHECK(result.out.empty());
    CHECK(result.err.find(named) != std::string::npos);
    CHECK_FALSE(fs::exists(canary));
  }
  CHECK(run("inspect " + data + "two.pt --key nothing").code == 2);
  CHECK(run("inspect " + data + "script.pt --key model").code == 2);  // as in audit
  CHECK(run("inspect " + data + "dense.npz --key model").code == 2);
  const Result shown = run("inspect " + data + "two.pt --key ema");
  CHECK(shown.code == 0);
  CHECK(shown.out.find("state dict at \"ema.model\"") != std::string::npos);
  CHECK(shown.out.find("1.running_var") != std::string::npos);
}

TEST_CASE("inspect prints nothing on stdout for a file that is refused") {
  const Folder folder;
  for (const auto& [name, text] : std::vector<std::pair<std::string, std::string>>{
           {"a.safetensors", "hello"},
           {"a.npz", "hello"},
           {"a.pt", "hello"},
           {"a.json", R"({"a": 1, "a": 2})"},
           {"report.json", R"({"schema": "afterimage.report/1"})"},
           {"images.idx", "hello"},
           {"a.txt", "hello"},
       }) {
    CAPTURE(name);
    write(folder / name, text);
    const Result result = run("inspect " + (folder / name));
    CHECK(result.code == 4);
    CHECK(lines_in(result.err) == 1);
    CHECK(result.err.find(name) != std::string::npos);
    CHECK(result.out.empty());
  }
  write(folder / "b.json", R"({"a": 1})");
  CHECK(lines_in(run("inspect " + (folder / "b.json")).out) == 3);  // the file, what it is, what it holds
}

}  // namespace afterimage::test
