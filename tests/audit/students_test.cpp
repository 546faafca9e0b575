// Students from training to the report.
#include <catch2/catch.hpp>

#include "models/formats/npz.h"
#include "models/tensor.h"
#include "tests/audit/program.h"

namespace afterimage::test {
namespace {

const std::string small =
    "train --quiet --data fashion-mnist --task odd-even --samples 12 --architecture mlp:64,64 --loss logistic "
    "--learning-rate 0.05 --until-loss 0.01 --mean public --steps 1000 ";
const std::string option = " --defense-option ";

// Pixels [n, d] of a set of images as inputs, or as pixels where it has no mean.
Tensor images_in(const std::string& file, bool as_inputs) {
  const auto arrays = read_npz(file);
  const Tensor images = to_tensor(*find(arrays, "images")).to(at::kFloat).flatten(1);
  return as_inputs ? images + to_tensor(*find(arrays, "mean")).to(at::kFloat).flatten() : images;
}

}  // namespace

TEST_CASE("a student is released in the teacher's place, audited by its own outputs, and leaks what it learned from") {
  const Folder folder;
  const std::string out = folder / "run", report = folder / "report";
  const Result trained = run(small + "--defense lelp" + option + "student=48" + option + "subclasses=4 --out " + out);
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  const auto model = json_in(out + "/model.json"), record = json_in(out + "/training.json");
  CHECK(model["architecture"] == "mlp:48");
  CHECK(model["outputs"] == 8);
  CHECK(model["subclasses"] == 4);
  CHECK(model["loss"] == "cross-entropy");
  CHECK(record["recipe"]["loss"] == "cross-entropy");
  CHECK(record["recipe"]["max_steps"] == 2000);  // the student's, not the teacher's 1000
  CHECK(record["defense"]["evidence"]["teacher"]["parameters"] == 28 * 28 * 64 + 64 + 64 * 64 + 64 + 64 + 1);
  const Result audited = run("audit --quiet " + out + " --attacks span --out " + report);
  INFO(audited.err);
  REQUIRE(audited.code == 0);
  const auto found = json_in(report + "/report.json");
  CHECK(found["model"]["outputs"] == 8);
  // By two ways: the student's training, and the audit of its files.
  CHECK(found["training"]["train_accuracy"].get<double>() == Approx(record["train_accuracy"].get<double>()));
  CHECK(record["train_accuracy"].get<double>() > 0.9);
  CHECK(found["findings"][0]["membership"]["auc"].get<double>() > 0.99);
}

TEST_CASE("a student of public images does not leak the private ones, and no control image is one of its own") {
  const Folder folder;
  const std::string out = folder / "run";
  const Result trained = run(small + "--defense distilled-student" + option + "student=48" + option + "images=public" +
                             option + "public-images=60" + option + "steps=300 --out " + out);
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  const Tensor pixels = images_in(out + "/support-set.npz", false);
  REQUIRE(pixels.size(0) == 60);
  CHECK(at::cdist(pixels, images_in(out + "/training-set.npz", true)).min().item<double>() > 0.1);
  // All of the source is asked for as the control set: what is left of 60 public and 60 other images are the latter.
  const auto others = folder / "others.npz";
  Generator random = seeded(4);
  const Tensor noise = at::rand({60, 28 * 28}, random, at::kFloat);
  write_npz(others, {{"images", to_array(at::cat({pixels, noise}).view({120, 28, 28}))},
                     {"labels", to_array(at::arange(120).remainder(2))}});
  const Result audited =
      run("audit --quiet " + out + " --attacks span --control npz:" + others + " --out " + (folder / "report"));
  INFO(audited.err);
  const auto found = json_in(folder / "report/report.json");
  CHECK(found["data"]["control_samples"] == 60);
}

TEST_CASE("a convolutional student is released, audited and given its own attacks") {
  const Folder folder;
  const std::string out = folder / "run", report = folder / "report";
  const Result trained =
      run("train --quiet --data fashion-mnist --task odd-even --samples 6 --architecture convnet:4,8 --loss logistic "
          "--learning-rate 0.05 --until-loss 0.05 --mean public --steps 300 --defense lelp --defense-option "
          "student=convnet:2,4 --defense-option steps=200 --defense-option subclasses=2 --out " +
          out);
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  CHECK(json_in(out + "/model.json")["architecture"] == "convnet:2,4");
  const Result audited =
      run("audit --quiet " + out + " --attacks span,vertices,finite-width --time-limit 3 --out " + report);
  INFO(audited.err);
  REQUIRE((audited.code == 0 || audited.code == 3));
  const auto found = json_in(report + "/report.json");
  CHECK(found["model"]["architecture"] == "convnet:2,4");
  CHECK(found["findings"][0]["status"] == "not-applicable");
  CHECK(found["findings"][1]["status"] == "not-applicable");
  CHECK(found["findings"][2]["status"] != "not-applicable");
}

TEST_CASE("a TorchScript teacher is taught from: its embeddings are found without knowing its code") {
  const Folder folder;
  const std::string file = folder / "pictures.npz";
  Generator random = seeded(5);
  const Tensor classes = at::arange(120, at::kLong).remainder(2);
  Tensor pictures = at::rand({120, 8, 8}, random, at::kFloat) * 0.6;
  pictures.narrow(1, 0, 4).add_(classes.view({120, 1, 1}), 0.4);  // the upper half tells the class
  write_npz(file, {{"images", to_array(pictures)}, {"labels", to_array(classes)}});
  const std::string train =
      "train --quiet --data npz:" + file +
      " --task multiclass --samples 16 --architecture torchscript:" TEST_DATA
      "/conv-traced.pt --allow-torchscript --loss cross-entropy --learning-rate 0.05 --steps 200 ";
  const std::string out = folder / "run";
  const Result taught = run(train + "--defense lelp" + option + "student=convnet:4" + option + "subclasses=2" + option +
                            "steps=300 --out " + out);
  INFO(taught.err);
  REQUIRE(taught.code == 0);
  const auto record = json_in(out + "/training.json");
  CHECK(record["test_accuracy"].get<double>() > 0.9);
  CHECK_FALSE(fs::exists(out + "/network.pt"));  // the teacher is not released
  const Result refused =
      run(train + "--defense distilled-student" + option + "learns=subclasses --out " + (folder / "other"));
  CHECK(refused.code == 2);
  CHECK(refused.err.find("comes with its weights") != std::string::npos);
}

TEST_CASE("a student that cannot be taught is refused with one line, and nothing is written") {
  const Folder folder;
  const std::string out = folder / "run";
  const auto refused = [&](const std::string& command, const std::string& why) {
    const Result result = run(command + " --out " + out);
    CAPTURE(command, result.err);
    CHECK(result.code == 2);
    CHECK(lines_in(result.err) == 1);
    CHECK(result.err.find(why) != std::string::npos);
    CHECK_FALSE(fs::exists(out));
  };
  const std::string squared =
      "train --quiet --data fashion-mnist --task odd-even --samples 12 --architecture mlp:64,64 --steps 5 ";
  refused(squared + "--defense lelp", "--loss squared");
  refused(small + "--defense lelp" + option + "subclasses=3", "has to be even");
  refused(small + "--defense lelp" + option + "student=0", "0");
  refused(small + "--defense lelp" + option + "images=private", "images");
  refused(
      "train --quiet --data fashion-mnist --task odd-even --samples 12 --architecture linear --loss logistic "
      "--steps 5 --defense lelp",
      "learns from embeddings");
}

TEST_CASE("outputs that are no multiple of the subclasses are refused") {
  const Folder folder;
  const std::string out = folder / "run";
  REQUIRE(run(small + "--defense distilled-student" + option + "student=16" + option + "steps=5 --out " + out).code ==
          0);
  auto model = json_in(out + "/model.json");
  CHECK(model["subclasses"] == 1);
  model["subclasses"] = 3;
  write(out + "/model.json", model.dump());
  const Result audited = run("audit --quiet " + out + " --out " + (folder / "report"));
  CHECK(audited.code == 4);
  CHECK(audited.err.find("outputs is 2 but task odd-even of 3 subclasses a class has 6") != std::string::npos);
}

}  // namespace afterimage::test
