// Comparisons of defences through the built program: what they measure, how they are refused, killed and resumed.
#include <signal.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <functional>
#include <thread>

#include "tests/audit/background.h"
#include "tests/audit/program.h"

namespace afterimage::test {
namespace {

nlohmann::json small_spec() {
  return {{"schema", "afterimage.compare/1"},
          {"data", "fashion-mnist"},
          {"task", "odd-even"},
          {"samples", 8},
          {"architecture", "mlp:128,128"},
          {"audit", {{"attacks", "span,finite-width"}, {"control-samples", 400}, {"steps", 200}}},
          {"seeds", {1, 2}},
          {"settings",
           {{{"defense", "none"}},
            {{"name", "KIP"}, {"defense", "kip"}, {"options", {{"per-class", 2}, {"distillation-steps", 100}}}}}}};
}

std::string written(const Folder& folder, const nlohmann::json& spec) {
  const std::string file = folder / "spec.json";
  write(file, spec.dump());
  return file;
}

// Compares none with dp-sgd under these options, by span and vertices alone, into `out`.
Result compared_with_dp_sgd(const Folder& folder, const std::string& out, const nlohmann::json& options) {
  auto spec = small_spec();
  spec["seeds"] = {1};
  spec["settings"] = {{{"defense", "none"}}, {{"name", "badly chosen"}, {"defense", "dp-sgd"}, {"options", options}}};
  spec["audit"] = {{"attacks", "span,vertices"}, {"control-samples", 400}};
  return run("compare " + written(folder, spec) + " --quiet --out " + out);
}

}  // namespace

TEST_CASE("a setting may train in its own way, so that students and distilled sets stand in one comparison") {
  const Folder folder;
  const std::string out = folder / "out";
  auto spec = small_spec();
  spec["seeds"] = {1};
  spec["train"] = {{"learning-rate", 0.002}, {"mean", "public"}};
  spec["audit"] = {{"attacks", "span"}, {"control-samples", 400}};
  spec["settings"] = {{{"defense", "none"}},
                      {{"name", "student"},
                       {"defense", "distilled-student"},
                       {"options", {{"student", 16}, {"steps", 50}}},
                       {"train", {{"loss", "logistic"}, {"learning-rate", 0.05}, {"steps", 50}}}},
                      {{"name", "posterior"},
                       {"defense", "gvcl"},
                       {"options", {{"steps", 20}}},
                       {"train", {{"loss", "logistic"}, {"learning-rate", nullptr}}}}};
  const Result compared = run("compare " + written(folder, spec) + " --quiet --out " + out);
  INFO(compared.err);
  REQUIRE(compared.code == 0);
  const auto recipe = [&](int setting) {
    return json_in(out + "/setting-" + std::to_string(setting) + "/seed-1/run/training.json");
  };
  CHECK(recipe(1)["recipe"]["loss"] == "squared");
  CHECK(recipe(1)["recipe"]["learning_rate"] == 0.002);
  CHECK(recipe(2)["recipe"]["loss"] == "cross-entropy");
  CHECK(recipe(2)["recipe"]["learning_rate"] == 0.05);
  CHECK(recipe(3)["mean"] == "public");
  CHECK(json_in(out + "/comparison.json")["settings"].size() == 3);
}

TEST_CASE("a comparison scores every setting on the original images, and distilled data leak less than no defence") {
  const Folder folder;
  const std::string out = folder / "out";
  const Result compared = run("compare " + written(folder, small_spec()) + " --quiet --out " + out);
  REQUIRE(compared.code == 0);
  const auto comparison = json_in(out + "/comparison.json");
  const auto& none = comparison["settings"][0];
  const auto& kip = comparison["settings"][1];
  CHECK(none["reconstructed"]["of"] == 16);  // 8 images, two seeds
  CHECK(none["reconstructed"]["count"].get<int>() >= 12);
  CHECK(none["p_value"].get<double>() < 1e-6);
  CHECK(none["membership_auc"] == 1.0);
  CHECK(kip["reconstructed"]["count"].get<int>() <= 1);
  CHECK(kip["p_value"].get<double>() > 0.05);
  CHECK(kip["on_front"] == true);
  CHECK(kip["pictures"].size() == 4);
  // Both networks were scored on the same training images.
  const std::string first = out + "/setting-1/seed-1/run/training-set.npz",
                    second = out + "/setting-2/seed-1/run/training-set.npz";
  CHECK(contents(first) == contents(second));
  CHECK(contents(out + "/comparison.html").find("KIP") != std::string::npos);
  CHECK(run("render " + out + "/comparison.json --out " + (folder / "again.html")).code == 0);
  CHECK(contents(folder / "again.html") == contents(out + "/comparison.html"));
  CHECK(compared.out.find("training images were reconstructed") != std::string::npos);
  // The defended network is audited like any other, by hand as well.
  const int verified = run("verify " + out + "/setting-2/seed-1/report/report.json").code;
  CHECK((verified == 0 || verified == 3));  // 3: the search for images that were not trained on has not settled
  // A second run into the same folder is refused without --resume, and with it nothing is repeated.
  CHECK(run("compare " + (folder / "spec.json") + " --quiet --out " + out).code == 2);
  const auto written_at = fs::last_write_time(out + "/setting-1/seed-1/report/report.json");
  CHECK(run("compare " + (folder / "spec.json") + " --quiet --resume --out " + out).code == 0);
  CHECK(fs::last_write_time(out + "/setting-1/seed-1/report/report.json") == written_at);
}

TEST_CASE("a killed comparison resumes to the same result, and is refused with another spec") {
  const Folder folder;
  auto one_seed = small_spec();
  one_seed["seeds"] = {1};
  const std::string spec = written(folder, one_seed);
  REQUIRE(run("compare " + spec + " --quiet --threads 1 --jobs 1 --out " + (folder / "whole")).code == 0);
  const std::string out = folder / "killed";
  const pid_t child = start({"compare", spec, "--quiet", "--threads", "1", "--jobs", "1", "--out", out});
  REQUIRE(appears(out + "/setting-1/seed-1/report/report.json", child));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // its own child ends with it
  CHECK_FALSE(fs::exists(out + "/comparison.json"));
  auto other = one_seed;
  other["samples"] = 9;
  write(folder / "other.json", other.dump());
  const Result refused = run("compare " + (folder / "other.json") + " --quiet --resume --out " + out);
  CHECK(refused.code == 2);
  CHECK(refused.err.find("another spec") != std::string::npos);
  REQUIRE(run("compare " + spec + " --quiet --threads 1 --jobs 1 --resume --out " + out).code == 0);
  auto whole = without_timing(folder / "whole/comparison.json"), resumed = without_timing(out + "/comparison.json");
  CHECK(whole["settings"] == resumed["settings"]);
}

TEST_CASE("a comparison that cannot resume leaves an interrupted run and other folders as they are") {
  const Folder folder;
  const std::string out = folder / "out", kept = out + "/setting-1/seed-1/run.state.safetensors",
                    spec = written(folder, small_spec());
  fs::create_directories(out + "/setting-1/seed-1");
  write(kept, "of hours");
  write(out + "/spec.json", small_spec().dump(1) + "\n");
  CHECK(run("compare " + spec + " --quiet --resume --out " + out).code == 4);  // the state is damaged
  CHECK(contents(kept) == "of hours");
}

TEST_CASE("a comparison with --resume refuses a folder in which no comparison began, and leaves it as it is") {
  const Folder folder;
  auto spec = small_spec();
  spec["data"] = "npz:/nowhere.npz";
  const auto resumed = [&](const std::string& out) {
    return run("compare " + written(folder, spec) + " --quiet --resume --out " + out);
  };
  for (const std::string mine : {"notes", "setting-1/seed-1/run/weights", "setting-1/seed-1/report/report.json"}) {
    const fs::path out = folder / ("with-" + fs::path(mine).filename().string()), file = out / mine;
    fs::create_directories(file.parent_path());
    write(file.string(), "mine");
    const Result refused = resumed(out.string());
    CAPTURE(mine, refused.err);
    CHECK(refused.code == 2);
    CHECK(lines_in(refused.err) == 1);
    CHECK(refused.err.find("--out " + out.string()) != std::string::npos);
    CHECK(contents(file.string()) == "mine");
    CHECK_FALSE(fs::exists(out / "spec.json"));
  }
  // A comparison that was killed while writing its first file had begun: it is now stopped by its data.
  const std::string killed = folder / "killed";
  fs::create_directories(killed);
  write(killed + "/spec.json.tmp-12", "{");
  CHECK(resumed(killed).code == 4);
}

TEST_CASE("a setting whose training diverged is said to have, and is on no front") {
  const Folder folder;
  const std::string out = folder / "out";
  CHECK(compared_with_dp_sgd(folder, out, {{"epsilon", 0.5}, {"steps", 200}, {"learning-rate", 5e-4}}).code == 0);
  const auto comparison = json_in(out + "/comparison.json");
  const auto& diverged = comparison["settings"][1];
  CHECK(diverged["runs"][0]["diverged"] == true);
  CHECK(diverged["on_front"] == false);
  CHECK(diverged["sentence"].get<std::string>().find("training diverged: the training loss was") != std::string::npos);
  CHECK(comparison["settings"][0]["runs"][0]["diverged"] == false);
  CHECK(comparison["settings"][0]["on_front"] == true);
  CHECK(run("render " + out + "/comparison.json --out " + (folder / "again.html")).code == 0);
  CHECK(contents(folder / "again.html") == contents(out + "/comparison.html"));
}

TEST_CASE("a setting whose training ends itself because it diverges does not end the comparison") {
  const Folder folder;
  const std::string out = folder / "out";
  const Result compared = compared_with_dp_sgd(folder, out, {{"epsilon", 50}, {"steps", 200}, {"learning-rate", 100}});
  INFO(compared.err);
  REQUIRE(fs::exists(out + "/comparison.json"));
  const auto comparison = json_in(out + "/comparison.json");
  const auto& diverged = comparison["settings"][1];
  CHECK(diverged["runs"][0]["diverged"] == true);
  CHECK(diverged["runs"][0]["reason"].get<std::string>().find("training diverged") != std::string::npos);
  CHECK(diverged["on_front"] == false);
  CHECK(comparison["settings"][0]["on_front"] == true);
}

TEST_CASE("a comparison without a conclusive audit is inconclusive") {
  const Folder folder;
  auto spec = small_spec();
  spec["seeds"] = {1};
  spec["audit"]["time-limit"] = 1e-3;
  const std::string out = folder / "out";
  CHECK(run("compare " + written(folder, spec) + " --quiet --out " + out).code == 3);
  CHECK(fs::exists(out + "/comparison.json"));
}

TEST_CASE("an interrupted comparison stops its runs and exits with 130") {
  const Folder folder;
  const std::string spec = written(folder, small_spec()), out = folder / "out";
  const pid_t child = start({"compare", spec, "--quiet", "--out", out});
  REQUIRE(appears(out + "/setting-1/seed-1/log.txt", child));
  ::kill(child, SIGINT);
  CHECK(code_of(child) == 130);
  CHECK_FALSE(fs::exists(out + "/comparison.json"));
}

TEST_CASE("an invalid spec is refused before any work, with one line that names the field") {
  const Folder folder;
  const auto refused = [&](const std::function<void(nlohmann::json&)>& spoil, const std::string& named, int code = 2) {
    auto spec = small_spec();
    spoil(spec);
    const std::string out = folder / "never";
    const Result result = run("compare " + written(folder, spec) + " --quiet --out " + out);
    CAPTURE(result.err, named);
    CHECK(result.code == code);
    CHECK(lines_in(result.err) == 1);
    CHECK(result.err.find(named) != std::string::npos);
    CHECK_FALSE(fs::exists(out));
  };
  refused([](auto& s) { s.erase("data"); }, "data");
  refused([](auto& s) { s["schema"] = "afterimage.compare/2"; }, "schema");
  refused([](auto& s) { s["sample"] = 3; }, "sample");
  refused([](auto& s) { s["samples"] = 0; }, "samples");
  refused([](auto& s) { s["settings"] = nlohmann::json::array(); }, "settings");
  refused([](auto& s) { s["settings"][0]["defense"] = "magic"; }, "settings[0]");
  refused([](auto& s) { s["settings"][1]["options"]["per-clas"] = 3; }, "per-clas");
  refused([](auto& s) { s["settings"][1]["options"]["per-class"] = -3; }, "per-class");
  refused([](auto& s) { s["settings"][1]["name"] = "none"; }, "settings[1]");
  refused([](auto& s) { s["seeds"] = {1, 1}; }, "seeds[1]");
  refused([](auto& s) { s["train"] = {{"out", "elsewhere"}}; }, "--out");
  refused([](auto& s) { s["train"] = {{"lerning-rate", 1}}; }, "lerning-rate");
  refused([](auto& s) { s["train"] = {{"loss", "sqared"}}; }, "sqared");
  refused([](auto& s) { s["settings"][0]["train"] = {{"loss", "sqared"}}; }, "sqared");
  refused(
      [](auto& s) {
        s["settings"][0]["train"] = {{"defense", "kip"}};
      },
      "settings[0].train may not have --defense");
  refused([](auto& s) { s["settings"][0]["train"] = 3; }, "settings[0].train");
  refused([](auto& s) { s["train"] = {{"loss", nullptr}}; }, "train");
  refused([](auto& s) { s["train"] = {{"", 1}}; }, "train: \"\": no option of train");
  refused([](auto& s) { s["train"] = {{"steps", true}}; }, "train: \"steps\": has to have a value, not true");
  refused([](auto& s) { s["train"] = {{"over-loss", "yes"}}; }, "train: \"over-loss\": has to be true or false");
  // Values that set nothing are looked at too.
  refused([](auto& s) { s["train"] = {{"resume", true}}; }, "--resume");
  refused([](auto& s) { s["settings"][1]["train"] = {{"data", nullptr}}; }, "settings[1].train may not have --data");
  refused([](auto& s) { s["settings"][1]["train"] = {{"stepz", nullptr}}; }, "train of \"KIP\": \"stepz\"");
  refused([](auto& s) { s["settings"][1]["train"] = {{"steps", false}}; }, "train of \"KIP\": \"steps\"");
  // So is what only the data, the network or the defence refuses, before the settings before it are trained.
  refused([](auto& s) { s["settings"][1]["train"] = {{"mean", "median"}}; }, "train of \"KIP\": --mean median");
  refused([](auto& s) { s["settings"][1]["train"] = {{"freeze", "conv9"}}; }, "train of \"KIP\": --freeze conv9");
  refused([](auto& s) { s["settings"][1]["options"]["per-class"] = 4; }, "--per-class 4: makes 8 images of 8");
  refused([](auto& s) { s["settings"][1] = {{"defense", "lelp"}}; }, "--loss squared: lelp needs a teacher");
  refused([](auto& s) { s["audit"] = {{"attacks", "telepathy"}}; }, "telepathy");
  refused([](auto& s) { s["audit"]["dtype"] = "float16"; }, "--dtype");
  refused([](auto& s) { s["audit"]["memory-limit"] = "lots"; }, "--memory-limit");
  // An error that only the first run finds leaves nothing either.
  refused([](auto& s) { s["samples"] = 1000000; }, "1000000");
  refused([](auto& s) { s["data"] = "npz:/nowhere.npz"; }, "/nowhere.npz", 4);
  CHECK(run("compare " + (folder / "missing.json") + " --out " + (folder / "never")).code == 2);
}

TEST_CASE("a dry run of train refuses what train refuses, and trains and writes nothing") {
  const Folder folder;
  const std::string train = "train --data fashion-mnist --task odd-even --samples 8 --architecture mlp:16 --out " +
                            (folder / "run") + " --dry-run ";
  CHECK(run(train).code == 0);
  CHECK(run(train + "--augment 99").err.find("--augment 99: needs pictures") != std::string::npos);
  CHECK(run(train + "--defense gvcl --over-loss").err.find("gvcl does not use it") != std::string::npos);
  CHECK(run(train + "--freeze nothing").code == 2);
  CHECK(folder.entries() == 0);
}

TEST_CASE("killed distillation resumes to the same result, alone and inside train, and leaves no state") {
  const Folder folder;
  const bool alone = GENERATE(true, false);
  std::vector<std::string> words{"--quiet", "--threads", "1"};
  const auto more = [&](std::initializer_list<std::string> added) { words.insert(words.end(), added); };
  if (alone) {
    more({"distill", "kip", "--per-class", "10", "--distillation-steps", "6000"});
  } else {
    more({"train", "--architecture", "mlp:64", "--steps", "50", "--defense", "kip", "--defense-option", "per-class=10",
          "--defense-option", "distillation-steps=6000"});
  }
  more({"--data", "fashion-mnist", "--task", "odd-even", "--samples", "100", "--out"});
  const auto to = [&](const std::string& out, bool resume) {
    std::vector<std::string> all = words;
    all.push_back(out);
    if (resume) all.emplace_back("--resume");
    return all;
  };
  const std::string suffix = alone ? ".npz" : "", whole = folder / "whole" + suffix, out = folder / "killed" + suffix,
                    state = out + ".state.safetensors";
  REQUIRE(code_of(start(to(whole, false))) == 0);
  const pid_t child = start(to(out, false));
  REQUIRE(appears(state, child));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  REQUIRE(fs::exists(state));
  REQUIRE_FALSE(fs::exists(out));
  REQUIRE(code_of(start(to(out, true))) == 0);
  CHECK_FALSE(fs::exists(state));
  for (const auto* file : {"support-set.npz", "trained.safetensors"}) {
    if (!alone) CHECK(contents(whole + "/" + file) == contents(out + "/" + file));
  }
  if (alone) CHECK(contents(whole) == contents(out));
  CHECK(std::distance(fs::directory_iterator(folder / ""), fs::directory_iterator()) == 2);
}

TEST_CASE("a network trains on a distilled set with its pixels, learned targets and mean") {
  const Folder folder;
  const std::string file = folder / "kip.npz", out = folder / "run";
  REQUIRE(run("distill kip --quiet --data fashion-mnist --task odd-even --samples 40 --per-class 3 "
              "--distillation-steps 100 --out " +
              file)
              .code == 0);
  REQUIRE(run("train --quiet --data npz:" + file + " --task odd-even --samples 6 --architecture mlp:64,64 --out " + out)
              .code == 0);
  CHECK(json_in(out + "/training.json")["final_loss"].get<double>() < 1e-6);
  CHECK(run("distill kip --quiet --data fashion-mnist --task odd-even --samples 40 --out " + file).code ==
        2);  // exists
  CHECK(
      run("distill weight-decay --quiet --data fashion-mnist --task odd-even --samples 40 --out " + (folder / "n.npz"))
          .code == 2);
  // Refused before the work, not after it.
  const Result nowhere = run(
      "distill kip --quiet --data fashion-mnist --task odd-even --samples 40 --distillation-steps 100000000 --out " +
      file + "/below.npz");
  CHECK(nowhere.code == 2);
  CHECK(nowhere.err.find("--out " + file + ": exists and is not a folder") != std::string::npos);
  const Result unknown =
      run("train --quiet --data fashion-mnist --task odd-even --samples 8 --architecture mlp:8,8 --defense kip "
          "--defense-option speed=9 --out " +
          (folder / "no"));
  CHECK(unknown.code == 2);
  CHECK(unknown.err.find("speed") != std::string::npos);
}

}  // namespace afterimage::test
