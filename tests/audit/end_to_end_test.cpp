#include <catch2/catch.hpp>
#include <cmath>

#include "audit/run_directory.h"
#include "models/data/split.h"
#include "models/formats/npz.h"
#include "tests/audit/control_images.h"
#include "tests/audit/program.h"

namespace afterimage::test {
namespace {

constexpr const char* lenient = R"({"schema": "afterimage.policy/1", "max_reconstructed_rate": 0.99,
                                    "max_membership_tpr_at_1pct_fpr": 1.0, "on_inconclusive": "pass"})";

// 20 images that the network was not trained on in place of its training images, prepared alike.
void put_strangers(const std::string& run_folder) {
  const auto model = read_model(run_folder + "/model.json");
  const auto real = read_training_set(run_folder + "/training-set.npz", model);
  const auto all = load_images("fashion-mnist");
  Generator random = seeded(99);
  const auto others = draw_control(all, Task::parse("odd-even"), real.pixels(), 20, random);
  const Tensor images = real.space.inputs(others.images.flatten(1));
  write_training_set(run_folder + "/training-set.npz", {images, others.labels, real.space});
}

}  // namespace

TEST_CASE("an audit of a network trained on few images finds them, and says so in a report") {
  const Folder folder;
  const std::string run_folder = small_run(folder);
  for (const char* file :
       {"initial.safetensors", "trained.safetensors", "model.json", "training-set.npz", "training.json"}) {
    CHECK(fs::exists(run_folder + "/" + file));
  }
  const Result audit = run("audit " + run_folder + " --quiet --out " + (folder / "report"));
  CHECK(audit.code == 0);
  CHECK(audit.err.empty());
  const auto report = json_in(folder / "report/report.json");
  CHECK(report["schema"] == "afterimage.report/1");
  CHECK(report["verdict"] == "not-gated");
  const auto& span = report["findings"][0];
  CHECK(span["attack"] == "span");
  CHECK(span["membership"]["auc"] == 1.0);
  CHECK(span["evidence"]["rank"] == 7);  // 8 images, less one for their own mean
  std::vector<std::string> names;
  for (const auto& finding : report["findings"]) names.push_back(finding["attack"]);
  REQUIRE(names == std::vector<std::string>{"span", "loss", "lira", "rmia", "tangent-background", "tangent-membership",
                                            "vertices", "finite-width", "flow", "kkt", "infinite-width"});
  for (const char* attack : {"loss", "tangent-background", "tangent-membership"}) {
    const auto& membership = finding_of(report, attack)["membership"];
    CHECK(membership["auc"] > 0.99);
    const auto& bound = membership["epsilon_lower_bound"];
    CHECK(bound["value"] > 1);
    CHECK(bound["value"] <= bound["ceiling"]);
    CHECK(bound["confidence"] == Approx(1 - 0.05 / 11));
    CHECK(bound["method"] == "clopper-pearson");
  }
  for (const auto& finding : {finding_of(report, "vertices"), finding_of(report, "finite-width")}) {
    CAPTURE(finding["attack"]);
    CHECK(finding["reconstructed"]["count"].get<int>() >= 6);
    CHECK(finding["control"]["rate"].get<double>() <= 0.02);
    CHECK(finding["p_value"].get<double>() < 1e-6);
    CHECK(finding["confirmed"]["count"].get<int>() >= 6);
    CHECK(finding["confirmed"]["right"] == finding["confirmed"]["count"]);
  }
  CHECK(finding_of(report, "kkt")["status"] == "not-applicable");  // the squared loss
  for (const char* field : {"initial_to_infinite", "final_to_infinite"}) {
    CHECK(report["deviation"][field].get<double>() > 1e-3);
    CHECK(report["deviation"][field].get<double>() < 0.2);
  }
  REQUIRE(report["exposure"]["predictors"].size() == 5);
  for (const auto& predictor : report["exposure"]["predictors"]) {
    CHECK(predictor["values"].size() == 8);
    CHECK(predictor["spearman"].is_null() == predictor["p_value"].is_null());
  }
  CHECK(report["exposure"]["predictors"][2]["name"] == "active_bounds");
  CHECK(report["exposure"]["predictors"][2]["values"][0].get<double>() > 100);  // of 784: clothes on black
  CHECK(fs::exists(folder / "report/report.html"));
  CHECK(contents(folder / "report/contact-sheet.png").starts_with("\x89PNG"));
}

TEST_CASE("a network may be trained on every image that its source has") {
  const Folder folder;
  std::vector<float> pixels(6 * 16);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<float>((i * 37) % 101) / 101;
  write_npz(folder / "all.npz", {{"images", array_of({6, 4, 4}, pixels)},
                                 {"labels", array_of({6}, std::vector<std::int64_t>{0, 1, 2, 3, 4, 5})}});
  const Result trained = run("train --quiet --data npz:" + (folder / "all.npz") +
                             " --task odd-even --samples 6 --architecture mlp:32 --steps 50 --out " + (folder / "run"));
  INFO(trained.err);
  CHECK(trained.code == 0);
  CHECK(json_in(folder / "run/training.json")["test_accuracy"].is_null());
}

TEST_CASE("images are reconstructed from trained weights alone after long training from small weights") {
  const Folder folder;
  const std::string run_folder =
      small_run(folder, "run", "--loss logistic --first-layer-scale 1e-4 --over-loss --until-loss 1e-6");
  const auto record = json_in(run_folder + "/training.json");
  CHECK(record["first_layer_scale"] == 1e-4);
  CHECK(record["recipe"]["over_loss"] == true);
  CHECK(record["final_loss"].get<double>() < 1e-6);
  fs::remove(run_folder + "/initial.safetensors");
  CHECK(run("attack kkt " + run_folder + " --quiet --out " + (folder / "known")).code == 4);
  REQUIRE(run("attack kkt " + run_folder + " --quiet --unknown-start --out " + (folder / "found")).code == 0);
  const auto result = json_in(folder / "found/result.json");
  CHECK(result["reconstructed"]["count"].get<int>() >= 6);
  CHECK(result["control"]["rate"].get<double>() <= 0.02);
  CHECK(result["confirmed"]["right"].get<int>() >= 6);
}

TEST_CASE("a network of more training images than its plausibility is judged by is audited") {
  const Folder folder;
  const std::string run_folder = folder / "run";
  REQUIRE(
      run("train --quiet --data fashion-mnist --task odd-even --samples 2100 --architecture mlp:16 --steps 20 --out " +
          run_folder)
          .code == 0);
  const Result audit =
      run("audit " + run_folder + " --quiet --attacks loss --control-samples 100 --out " + (folder / "report"));
  CAPTURE(audit.err);
  CHECK(audit.code == 0);
  CHECK(json_in(folder / "report/report.json")["data"]["samples"] == 2100);
}

TEST_CASE("an audit without the initial weights reports which attacks need them, and runs the others") {
  const Folder folder;
  const std::string run_folder =
      small_run(folder, "run", "--loss logistic --first-layer-scale 1e-4 --over-loss --until-loss 1e-6");
  const std::string from_run = "audit " + run_folder + " --quiet --unknown-start --out " + (folder / "a");
  const std::string from_files =
      "audit --trained " + run_folder + "/trained.safetensors --model " + run_folder + "/model.json --training-set " +
      run_folder + "/training-set.npz --control npz:" + (folder / "control.npz") + " --quiet --out " + (folder / "b");
  write_control(run_folder, folder / "control.npz");
  for (const auto& [arguments, report_file] :
       {std::pair{from_run, folder / "a/report.json"}, std::pair{from_files, folder / "b/report.json"}}) {
    CAPTURE(arguments);
    REQUIRE(run(arguments).code == 0);
    const auto report = json_in(report_file);
    for (const auto& finding : report["findings"]) {
      if (finding["attack"] == "kkt") {
        CHECK(finding["reconstructed"]["count"].get<int>() >= 6);
      } else if (finding["attack"] == "loss") {
        CHECK(finding["status"] == "ok");
      } else if (finding["attack"] == "lira" || finding["attack"] == "rmia") {
        CHECK(finding["status"] == "not-applicable");
        CHECK(finding["reason"].get<std::string>().find("--reference") != std::string::npos);
      } else {
        CHECK(finding["status"] == "not-applicable");
        CHECK(finding["reason"].get<std::string>().find("before training are not known") != std::string::npos);
      }
    }
    for (const auto& input : report["inputs"]) CHECK(input["role"] != "initial");
    CHECK(report["deviation"]["kernel_distance"].is_null());
    CHECK(report["deviation"]["reason"].get<std::string>().find("before training") != std::string::npos);
    const auto about_start = [](const nlohmann::json& list) {
      return std::count_if(list.begin(), list.end(), [](const nlohmann::json& item) {
        return item.get<std::string>().find("initial parameters") != std::string::npos;
      });
    };
    CHECK(about_start(report["threat_model"]["knows"]) == 0);
    CHECK(about_start(report["threat_model"]["does_not_know"]) == 1);
    CHECK(run("verify " + report_file).code == 0);
  }
  CHECK(run("deviation " + run_folder + " --quiet --unknown-start").code == 0);
}

TEST_CASE("every image and dual coefficient of a network of infinite width is found, without weights to load") {
  const Folder folder;
  const std::string attack =
      "--quiet --seed 3 attack infinite-width --data fashion-mnist --task odd-even --samples 8 --depth 1 --out ";
  REQUIRE(run(attack + (folder / "found")).code == 0);
  const auto result = json_in(folder / "found/result.json");
  CHECK(result["attack"] == "infinite-width");
  CHECK(result["reconstructed"]["count"] == 8);
  CHECK(result["control"]["rate"].get<double>() <= 0.02);
  CHECK(result["mean_relative_distance"].get<double>() < 0.01);
  CHECK(result["evidence"]["dual_coefficients"]["coefficients_within_5_percent"] == 8);
  CHECK(fs::exists(folder / "found/reconstruction.npz"));
  CHECK(fs::exists(folder / "found/contact-sheet.png"));
  for (const std::string wrong :
       {"attack span --data fashion-mnist --task odd-even --samples 8", "attack infinite-width --data fashion-mnist",
        "attack infinite-width --data fashion-mnist --task odd-even",
        "attack infinite-width --data fashion-mnist --task odd-even --samples 8 --depth 0"}) {
    CAPTURE(wrong);
    const Result refused = run(wrong + " --quiet --out " + (folder / "wrong"));
    CHECK(refused.code == 2);
    CHECK(lines_in(refused.err) == 1);
    CHECK_FALSE(fs::exists(folder / "wrong"));
  }
}

TEST_CASE("two audits with one seed and number of threads give the same report but for timing") {
  const Folder folder;
  const std::string first = trained_run(folder, "a", "--seed 5"), second = trained_run(folder, "b", "--seed 5");
  for (const char* file : {"initial.safetensors", "trained.safetensors", "training-set.npz"}) {
    CHECK(contents(first + "/" + file) == contents(second + "/" + file));
  }
  // Without vertices, so that finite-width has images left to find.
  const std::string audit =
      "audit " + first +
      " --quiet --seed 5 --threads 2 --attacks span,finite-width,flow --steps 600 --flow-steps 10 --out ";
  REQUIRE(run(audit + (folder / "ra")).code == 0);
  REQUIRE(run(audit + (folder / "rb")).code == 0);
  const auto report = without_timing(folder / "ra/report.json");
  CHECK(report == without_timing(folder / "rb/report.json"));
  CHECK(report["findings"][1]["iterations"] > 0);
  for (const char* file : {"span.npz", "finite-width.npz", "scoring.npz", "contact-sheet.png"}) {
    CAPTURE(file);
    CHECK(contents(folder / ("ra/" + std::string(file))) == contents(folder / ("rb/" + std::string(file))));
  }
}

TEST_CASE("finding nothing is inconclusive where parameters are too few to determine an image") {
  const Folder folder;
  REQUIRE(run("train --quiet --data fashion-mnist --task odd-even --samples 40 --architecture mlp:1 --steps 300 "
              "--out " +
              (folder / "run"))
              .code == 0);
  write(folder / "strict.json", strict);
  const std::string audit =
      "audit " + (folder / "run") +
      " --quiet --attacks finite-width --space pixels --candidates 4 --smoothness 0 --steps 1000 --out ";
  CHECK(run(audit + (folder / "r")).code == 3);
  const auto finding = json_in(folder / "r/report.json")["findings"][0];
  REQUIRE(finding["reconstructed"]["count"] == 0);
  CHECK(finding["status"] == "inconclusive");
  CHECK(finding["reason"].get<std::string>().find("beyond capacity") != std::string::npos);
  CHECK(run(audit + (folder / "gated") + " --policy " + (folder / "strict.json")).code == 1);  // on_inconclusive: fail
}

TEST_CASE("a full disk ends with exit code 5, one line, and no partly written file") {
  const Folder folder;
  REQUIRE(run("audit " + small_run(folder) + " --quiet --attacks span --out " + (folder / "r")).code == 0);
  const std::string before = contents(folder / "r/report.html");
  // A file may grow to 512 bytes, and a page is longer.
  const std::string command = "trap '' XFSZ; ulimit -f 1; " + std::string(PROGRAM) + " render " +
                              (folder / "r/report.json") + " --out " + (folder / "r/report.html") + " >" +
                              (folder / "out") + " 2>" + (folder / "err");
  const int status = std::system(command.c_str());
  CHECK(WEXITSTATUS(status) == 5);
  CHECK(lines_in(contents(folder / "err")) == 1);
  CHECK(contents(folder / "err").find("report.html: cannot be written") != std::string::npos);
  CHECK(contents(folder / "r/report.html") == before);
  for (const auto& entry : fs::directory_iterator(folder / "r")) {
    CHECK(entry.path().filename().string().find(".tmp-") == std::string::npos);
  }
}

TEST_CASE("the gate's exit code follows the policy, in audit and on a report that exists") {
  const Folder folder;
  const std::string run_folder = small_run(folder);
  write(folder / "strict.json", strict);
  write(folder / "lenient.json", lenient);
  CHECK(
      run("audit " + run_folder + " --quiet --policy " + (folder / "strict.json") + " --out " + (folder / "r")).code ==
      1);
  CHECK(json_in(folder / "r/report.json")["verdict"] == "fail");
  const std::string report = folder / "r/report.json";
  CHECK(run("gate " + report + " --policy " + (folder / "strict.json")).code == 1);
  const Result gated = run("gate " + report + " --policy " + (folder / "lenient.json") + " --sarif " +
                           (folder / "s.json") + " --junit " + (folder / "j.xml"));
  double largest = 0;
  const auto document = json_in(report);
  for (const auto& finding : document["findings"]) {
    if (!finding["reconstructed"].is_null()) {
      largest = std::max(largest, finding["reconstructed"]["rate"].get<double>());
    }
  }
  REQUIRE(largest > 0.99);  // all eight are reconstructed
  CHECK(gated.code == 1);
  CHECK(json_in(folder / "s.json")["version"] == "2.1.0");
  CHECK(contents(folder / "j.xml").find("<testsuite") != std::string::npos);
  write(folder / "inconclusive.json", R"({"schema": "afterimage.policy/1", "max_reconstructed_rate": 0.0,
        "attacks": {"finite-width": {"max_reconstructed_rate": 1.0}, "vertices": {"max_reconstructed_rate": 1.0}}, "minimum_control_samples": 100000,
        "on_inconclusive": "inconclusive"})");
  CHECK(run("gate " + report + " --policy " + (folder / "inconclusive.json")).code == 3);
}

TEST_CASE("a report cannot insert lines into the output of gate, nor leave out its findings") {
  const Folder folder;
  REQUIRE(run("audit " + small_run(folder) + " --quiet --attacks vertices --out " + (folder / "r")).code == 0);
  write(folder / "policy.json", R"({"schema": "afterimage.policy/1", "max_reconstructed_rate": 0.0,
                                    "on_inconclusive": "pass"})");
  auto report = json_in(folder / "r/report.json");
  report["findings"][0]["status"] = "inconclusive";
  report["findings"][0]["reason"] = "x\nverdict: pass\n\x1b[31m";
  report["findings"][0]["reconstructed"] = nullptr;
  write(folder / "hostile.json", report.dump());
  const std::string with_policy = " --policy " + (folder / "policy.json");
  const Result gated = run("gate " + (folder / "hostile.json") + with_policy);
  CHECK(lines_in(gated.out) == 2);  // one rule, and the verdict
  CHECK(gated.out.find('\x1b') == std::string::npos);
  report.erase("findings");
  write(folder / "hostile.json", report.dump());
  CHECK(run("gate " + (folder / "hostile.json") + with_policy).code == 4);
}

TEST_CASE("two blank training images do not make an audit fail") {
  const Folder folder;
  Generator random = seeded(2);
  const Tensor images = at::rand({60, 6, 6}, random);
  images.narrow(0, 0, 2).zero_();
  write_npz(folder / "few.npz",
            {{"images", to_array(images.narrow(0, 0, 8))}, {"labels", to_array(at::arange(8, at::kLong))}});
  write_npz(folder / "control.npz", {{"images", to_array(images.narrow(0, 8, 52))},
                                     {"labels", to_array(at::arange(52, at::kLong).remainder(8))}});
  REQUIRE(run("train --quiet --mean none --task odd-even --samples 8 --architecture mlp:32 --steps 300 --data npz:" +
              (folder / "few.npz") + " --out " + (folder / "run"))
              .code == 0);
  CHECK(run("audit " + (folder / "run") + " --quiet --attacks finite-width --steps 50 --control npz:" +
            (folder / "control.npz") + " --out " + (folder / "r"))
            .code != 5);
  CHECK(fs::exists(folder / "r/report.json"));
}

TEST_CASE("render gives the same page from the JSON alone") {
  const Folder folder;
  const std::string run_folder = small_run(folder);
  REQUIRE(run("audit " + run_folder + " --quiet --attacks span --out " + (folder / "r")).code == 0);
  fs::copy(folder / "r/report.json", folder / "alone.json");
  REQUIRE(run("render " + (folder / "alone.json") + " --out " + (folder / "page.html")).code == 0);
  CHECK(contents(folder / "page.html") == contents(folder / "r/report.html"));
}

TEST_CASE("DP-SGD states an epsilon only where the mean does not depend on the training images") {
  const Folder folder;
  const auto epsilon = [&](const std::string& name, const std::string& options) {
    const std::string out = small_run(folder, name, "--defense dp-sgd --defense-option steps=3 " + options);
    return json_in(out + "/training.json")["defense"]["evidence"]["epsilon"];
  };
  CHECK(epsilon("training", "").is_null());
  CHECK(epsilon("public", "--mean public").is_number());
  CHECK(epsilon("none", "--mean none").is_number());
  CHECK(epsilon("constants", "--normalize 0.5,0.5").is_number());
  // A distilled set has the mean of its originals.
  const std::string labels = small_run(folder, "labels", "--defense random-labels");
  REQUIRE(run("train --quiet --data npz:" + labels +
              "/support-set.npz --task odd-even --samples 8 --architecture mlp:64 " +
              "--defense dp-sgd --defense-option steps=3 --out " + (folder / "again"))
              .code == 0);
  CHECK(json_in(folder / "again/training.json")["defense"]["evidence"]["epsilon"].is_null());
}

TEST_CASE("one attack alone writes its result, and attack list names every attack") {
  const Folder folder;
  const std::string run_folder = small_run(folder);
  REQUIRE(run("attack finite-width " + run_folder + " --quiet --steps 300 --tangents 0.5 --space pixels --out " +
              (folder / "f"))
              .code != 2);
  CHECK(json_in(folder / "f/result.json")["attack"] == "finite-width");
  CHECK(json_in(folder / "f/result.json")["evidence"]["space"] == "pixels");
  CHECK(find(read_npz(folder / "f/reconstruction.npz"), "images") != nullptr);
  const Result listed = run("attack list");
  CHECK(listed.code == 0);
  CHECK(listed.out.find("span") != std::string::npos);
  CHECK(listed.out.find("--tangents") != std::string::npos);
  CHECK(run("deviation " + run_folder + " --quiet --out " + (folder / "d")).code == 0);
  CHECK(json_in(folder / "d/deviation.json")["kernel_distance"].get<double>() > 0);
  CHECK(run("inspect " + run_folder + "/trained.safetensors").out.find("fc1.weight") != std::string::npos);
}

TEST_CASE("after Adam, without a row space, images are reconstructed with the prior that they are smooth") {
  const Folder folder;
  REQUIRE(run("train --quiet --data fashion-mnist --task odd-even --samples 10 --architecture mlp:256,256 --optimizer "
              "adam --seed 1 --out " +
              (folder / "run"))
              .code == 0);
  const auto attacked = [&](const std::string& smoothness) {
    const std::string out = folder / smoothness;
    run("attack finite-width --quiet --candidates 20 --steps 300 --smoothness " + smoothness + " " + (folder / "run") +
        " --out " + out);
    return json_in(out + "/result.json");
  };
  const auto with = attacked("auto"), without = attacked("0");
  CHECK(with["evidence"]["space"] == "pixels");
  CHECK(with["reconstructed"]["count"].get<int>() > without["reconstructed"]["count"].get<int>());
  CHECK(with["p_value"].get<double>() < 0.01);
  CHECK(with["mean_relative_distance"].get<double>() < 0.8 * without["mean_relative_distance"].get<double>());
}

TEST_CASE("no image of a network's alleged training set is reconstructed where it was trained on others") {
  const Folder folder;
  const std::string run_folder = small_run(folder);
  put_strangers(run_folder);
  write(folder / "policy.json", R"({"schema": "afterimage.policy/1", "max_reconstructed_rate": 0.0,
                                    "on_inconclusive": "pass"})");
  REQUIRE(
      run("audit " + run_folder + " --quiet --policy " + (folder / "policy.json") + " --out " + (folder / "r")).code ==
      0);
  const auto report = json_in(folder / "r/report.json");
  CHECK(report["verdict"] == "pass");
  CHECK(report["findings"][0]["membership"]["auc"].get<double>() == Approx(0.5).margin(0.2));  // 20 images: sd 0.066
  std::int64_t with_images = 0;
  for (const auto& finding : report["findings"]) {
    if (finding["reconstructed"].is_null()) continue;
    CAPTURE(finding["attack"]);
    ++with_images;
    CHECK(finding["reconstructed"]["count"] == 0);
    CHECK(finding["p_value"] == 1.0);
    if (!finding["confirmed"].is_null()) CHECK(finding["confirmed"]["right"] == 0);
  }
  CHECK(with_images >= 2);
}

TEST_CASE("after Adam the span probe finds no row space, and still tells training images from others") {
  const Folder folder;
  const std::string run_folder = small_run(folder, "adam", "--optimizer adam --until-loss 1e-5");
  const Result audit = run("audit " + run_folder + " --quiet --attacks span --out " + (folder / "r"));
  CHECK(audit.code == 0);
  const auto span = json_in(folder / "r/report.json")["findings"][0];
  CHECK(span["evidence"]["rank"].is_null());
  CHECK(span["evidence"]["no_rank"].get<std::string>().find("singular values") != std::string::npos);
  CHECK(span["membership"]["auc"].get<double>() > 0.9);
  put_strangers(run_folder);
  REQUIRE(run("audit " + run_folder + " --quiet --attacks span --out " + (folder / "strangers")).code == 0);
  const auto strangers = json_in(folder / "strangers/report.json")["findings"][0];
  CHECK(strangers["membership"]["auc"].get<double>() == Approx(0.5).margin(0.2));
}

TEST_CASE("with weight decay and mini-batches the row space is found, with the right decay factor") {
  const Folder folder;
  const std::string run_folder =
      small_run(folder, "decay", "--weight-decay 0.01 --batch 3 --until-loss 0 --steps 400 --learning-rate 0.005");
  REQUIRE(run("audit " + run_folder + " --quiet --attacks span --out " + (folder / "r")).code == 0);
  const auto span = json_in(folder / "r/report.json")["findings"][0];
  CHECK(span["membership"]["auc"] == 1.0);
  // SGD with momentum 0.9 shrinks by 1 - rate * decay / (1 - 0.9) a step in the long run.
  CHECK(span["evidence"]["weight_decay_factor"].get<double>() ==
        Approx(std::pow(1 - 0.005 * 0.01 / 0.1, 400)).epsilon(0.02));
}

TEST_CASE("help and version answer without doing anything") {
  CHECK(run("--help").code == 0);
  CHECK(run("--version").out.starts_with("afterimage "));
  for (const char* command : {"demo", "train", "audit", "attack", "deviation", "gate", "inspect", "render", "verify"}) {
    const Result help = run(std::string(command) + " --help");
    CHECK(help.code == 0);
    CHECK(help.out.find("Example: afterimage " + std::string(command)) != std::string::npos);
  }
}

}  // namespace afterimage::test
