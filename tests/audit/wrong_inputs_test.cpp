// Inputs that are not what the network was trained on: no audit of them passes.
#include <catch2/catch.hpp>
#include <functional>
#include <vector>

#include "tests/audit/control_images.h"
#include "tests/audit/program.h"

namespace afterimage::test {
namespace {

using Change = std::function<void(const std::string& run)>;

// Replaces the array `name` of the training set by what `change` makes of it.
void change_array(const std::string& run, const std::string& name, const std::function<Tensor(const Tensor&)>& change) {
  const std::string file = run + "/training-set.npz";
  NamedArrays arrays = read_npz(file);
  for (auto& [own, array] : arrays) {
    if (own == name) array = to_array(change(to_tensor(array)).contiguous());
  }
  write_npz(file, arrays);
}

Change swapped_weights() {
  return [](const std::string& run) {
    fs::rename(run + "/initial.safetensors", run + "/other");
    fs::rename(run + "/trained.safetensors", run + "/initial.safetensors");
    fs::rename(run + "/other", run + "/trained.safetensors");
  };
}

Change images(const std::function<Tensor(const Tensor&)>& change) {
  return [=](const std::string& run) { change_array(run, "images", change); };
}

// Every picture with pixels in [0, 1], the mean of these pictures no more.
Change pixels_without_mean(const std::function<Tensor(const Tensor&)>& change) {
  return [=](const std::string& run) {
    const Tensor mean = to_tensor(*find(read_npz(run + "/training-set.npz"), "mean"));
    change_array(run, "images", [&](const Tensor& inputs) { return change(inputs + mean); });
    change_array(run, "mean", [](const Tensor& values) { return at::zeros_like(values); });
  };
}

}  // namespace

TEST_CASE("an audit of inputs that are not those of training never passes, and says the likely cause") {
  const std::vector<std::pair<std::string, Change>> wrong = {
      {"weights swapped", swapped_weights()},
      {"labels turned round",
       [](const std::string& run) { change_array(run, "labels", [](const Tensor& labels) { return 9 - labels; }); }},
      {"pixels as they are", pixels_without_mean([](const Tensor& pixels) { return pixels; })},
      {"pictures on their side", images([](const Tensor& inputs) { return inputs.transpose(1, 2); })},
      {"pictures upside down", images([](const Tensor& inputs) { return inputs.flip({1}); })},
      {"black for white", pixels_without_mean([](const Tensor& pixels) { return 1 - pixels; })},
      {"pixels in another order", images([](const Tensor& inputs) {
         Generator random = seeded(3);
         const Tensor order = at::randperm(784, random, at::kLong);
         return inputs.flatten(1).index_select(1, order).reshape(inputs.sizes());
       })}};
  for (const auto& [name, change] : wrong) {
    INFO(name);
    const Folder folder;
    const std::string run_folder = small_run(folder);
    write_control(run_folder, folder / "control.npz");
    change(run_folder);
    // Whose mean was subtracted says which pixels are possible: where that is wrong too, the set is refused at once.
    write(folder / "policy.json",
          R"({"schema": "afterimage.policy/1", "max_reconstructed_rate": 0.5, "on_inconclusive": "inconclusive"})");
    const Result audited =
        run("audit --quiet " + run_folder + " --attacks span,vertices --control npz:" + (folder / "control.npz") +
            " --policy " + (folder / "policy.json") + " --out " + (folder / "report"));
    INFO(audited.out + audited.err);
    CHECK(audited.code != 0);  // 1 where images came back all the same
    const std::string text = audited.out + audited.err;
    CHECK(
        (text.find("order of pixels") != std::string::npos || text.find("have to be in [0, 1]") != std::string::npos));
  }
}

TEST_CASE("after one small step the loss is hardly lower, and the audit does not doubt its inputs but other labels") {
  const Folder folder;
  const std::string run_folder = folder / "run";
  const Result trained = run("train --quiet --data fashion-mnist --task odd-even --samples 12 --architecture mlp:128 " +
                             std::string("--steps 1 --learning-rate 0.001 --out ") + run_folder);
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  write_control(run_folder, folder / "control.npz");
  const auto audited = [&](const std::string& out) {
    const Result result = run("audit --quiet " + run_folder +
                              " --attacks span --control npz:" + (folder / "control.npz") + " --out " + (folder / out));
    INFO(result.out + result.err);
    return json_in(folder / out + "/report.json")["findings"][0];
  };
  CHECK(audited("right")["status"] == "ok");
  change_array(run_folder, "labels", [](const Tensor& labels) { return 9 - labels; });
  CHECK(audited("wrong")["status"] == "inconclusive");
}

TEST_CASE("weights before training that were drawn with another seed are doubted") {
  const Folder folder;
  const std::string run_folder = small_run(folder), other = trained_run(folder, "other", "--seed 5 --steps 1");
  write_control(run_folder, folder / "control.npz");
  fs::copy_file(other + "/initial.safetensors", run_folder + "/initial.safetensors",
                fs::copy_options::overwrite_existing);
  const Result audited =
      run("audit --quiet " + run_folder + " --attacks span --control npz:" + (folder / "control.npz") + " --out " +
          (folder / "report"));
  INFO(audited.out + audited.err);
  CHECK(audited.code == 3);
  CHECK(audited.out.find("drawn with different seeds") != std::string::npos);
}

TEST_CASE("a single channel, first or last, is the same picture; another shape than the control's is refused") {
  const Folder folder;
  const std::string run_folder = small_run(folder);
  write_control(run_folder, folder / "control.npz");
  const auto audited = [&](const std::string& name, const std::function<Tensor(const Tensor&)>& layout) {
    fs::copy(run_folder, folder / name, fs::copy_options::recursive);
    change_array(folder / name, "images", layout);
    fs::remove(folder / name + "/model.json");
    return run("audit --quiet --initial " + (folder / name) + "/initial.safetensors --trained " + (folder / name) +
               "/trained.safetensors --training-set " + (folder / name) +
               "/training-set.npz --task odd-even --attacks " + "vertices --control npz:" + (folder / "control.npz") +
               " --out " + (folder / name) + "/report");
  };
  REQUIRE(audited("plain", [](const Tensor& inputs) { return inputs; }).code == 0);
  REQUIRE(audited("first", [](const Tensor& inputs) { return inputs.unsqueeze(1); }).code == 0);
  REQUIRE(audited("last", [](const Tensor& inputs) { return inputs.unsqueeze(3); }).code == 0);
  const auto findings = [&](const std::string& name) {
    return json_in(folder / name + "/report/report.json")["findings"];
  };
  CHECK(findings("first") == findings("plain"));
  CHECK(findings("last") == findings("plain"));

  const Result other = audited("other", [](const Tensor& inputs) { return inputs.reshape({-1, 28, 4, 7}); });
  CHECK(other.code == 4);  // other than the control images' 28 x 28
  CHECK(lines_in(other.err) == 1);
}

}  // namespace afterimage::test
