// Tasks learned in turn, from `train --tasks` to the audit of what is released.
#include <signal.h>

#include <catch2/catch.hpp>

#include "tests/audit/background.h"
#include "tests/audit/program.h"

namespace afterimage::test {
namespace {

const std::string small =
    "train --quiet --data fashion-mnist --samples 40 --architecture mlp:32,32 --loss logistic --batch 20 --threads 1 "
    "--defense gvcl --defense-option steps=150 --defense-option learning-rate=0.005 ";

}  // namespace

TEST_CASE("tasks are learned in turn, each release is a run of its own, and tasks.json agrees with them") {
  const Folder folder;
  const std::string out = folder / "tasks";
  const Result trained =
      run(small + "--tasks 0,1/2,3/4,5 --defense-option film=yes --defense-option lambda=100 --out " + out);
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  CHECK(trained.out.find("learned 3 tasks: average accuracy 0.") == 0);
  const auto summary = json_in(out + "/tasks.json");
  CHECK(summary["schema"] == "afterimage.tasks/1");
  REQUIRE(summary["after"].size() == 3);
  double sum = 0, lost = 0;
  for (std::size_t after = 1; after <= 3; ++after) {
    const auto& row = summary["after"][after - 1];
    REQUIRE(row["accuracy"].size() == after);
    for (std::size_t task = 1; task <= after; ++task) {
      const std::string run_folder = out + "/after-" + std::to_string(after) + "/task-" + std::to_string(task);
      const auto record = json_in(run_folder + "/training.json");
      CHECK(record["test_accuracy"] == row["accuracy"][task - 1]);
      CHECK(record["test_calibration_error"] == row["calibration_error"][task - 1]);
      CHECK(record["after_task"] == after);
      CHECK(record["recipe"]["optimizer"] == "adam");
      CHECK(record["recipe"]["max_steps"] == 150);
      CHECK(record["mean"] == "none");
      CHECK(json_in(run_folder + "/model.json")["task"] == summary["tasks"][task - 1]);
      if (after == 3) sum += record["test_accuracy"].get<double>() / 3;
    }
  }
  CHECK(summary["average_accuracy"].get<double>() == Approx(sum));
  CHECK(sum > 0.7);
  const auto& rows = summary["after"];
  const auto averaged = [&](int after, int task) { return rows[after]["averaged_accuracy"][task].get<double>(); };
  lost = (std::max(averaged(0, 0), averaged(1, 0)) - averaged(2, 0) + averaged(1, 1) - averaged(2, 1)) / 2;
  CHECK(summary["averaged_predictions"]["forgetting"].get<double>() == Approx(lost).margin(1e-12));
  // A release after a later task differs in the shared weights, and is audited against the earlier task's images.
  CHECK(contents(out + "/after-1/task-1/trained.safetensors") != contents(out + "/after-2/task-1/trained.safetensors"));
  CHECK(contents(out + "/after-1/task-1/training-set.npz") == contents(out + "/after-2/task-1/training-set.npz"));
  for (const std::string released : {"/after-1/task-1", "/after-3/task-1"}) {
    const Result audited =
        run("audit --quiet " + out + released + " --attacks span --out " + (folder / "report") + released);
    INFO(audited.err);
    const auto report = json_in((folder / "report") + released + "/report.json");
    CHECK(report["data"]["task"] == "classes:0,1");
    CHECK(report["training"]["test_calibration_error"] ==
          json_in(out + released + "/training.json")["test_calibration_error"]);
  }
}

TEST_CASE("a sequence that was killed resumes after the tasks that it had learned, to the same networks") {
  const Folder folder;
  const auto train = [&](const std::string& out, bool resume) {
    std::vector<std::string> words;
    std::istringstream text(small +
                            "--tasks 0,1/2,3/4,5/6,7 --defense-option beta=0 --defense-option steps=400 --out " + out);
    for (std::string word; text >> word;) words.push_back(word);
    if (resume) words.emplace_back("--resume");
    return start(words);
  };
  const std::string out = folder / "killed", state = out + ".state.safetensors";
  const pid_t child = train(out, false);
  REQUIRE(appears(state, child));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  REQUIRE_FALSE(fs::exists(out));
  CHECK(code_of(train(out, true)) == 0);
  CHECK_FALSE(fs::exists(state));
  REQUIRE(code_of(train(folder / "whole", false)) == 0);
  CHECK(json_in(out + "/tasks.json") == json_in((folder / "whole") + "/tasks.json"));
  for (const std::string released : {"/after-1/task-1", "/after-4/task-2", "/after-4/task-4"}) {
    CHECK(contents(out + released + "/trained.safetensors") ==
          contents((folder / "whole") + released + "/trained.safetensors"));
  }
}

TEST_CASE("a sequence of tasks that cannot be learned is refused in one line, and nothing is written") {
  const Folder folder;
  const std::string out = folder / "run";
  const std::string plain = "train --quiet --data fashion-mnist --samples 20 --architecture mlp:8 --out " + out + " ";
  const std::string gvcl = "--loss logistic --defense gvcl --defense-option steps=5 ";
  for (const auto& [options, why] : std::vector<std::pair<std::string, std::string>>{
           {gvcl + "--tasks 0,1/2", "\"2\" has to be two classes"},
           {gvcl + "--tasks 0,1", "two tasks or more"},
           {gvcl + "--tasks 0,1/1,2", "class 1 is named twice"},
           {gvcl + "--tasks 0,1/2,00", "class 00 is named twice"},
           {gvcl + "--tasks 0,1/2,3 --steps 5", "--steps: gvcl trains by its own"},
           {gvcl + "--tasks 0,1/2,3,4", "has to be two classes"},
           {gvcl + "--tasks 0,1/2,x", "x"},
           {gvcl, "--task: give it, or --tasks"},
           {gvcl + "--task odd-even --tasks 0,1/2,3", "not both"},
           {"--tasks 0,1/2,3 --loss logistic", "only --defense gvcl"},
           {"--tasks 0,1/2,3 --defense gvcl", "--loss squared"},
           {gvcl + "--tasks 0,1/2,3 --mean training", "--mean training"},
           {gvcl + "--tasks 0,1/2,3 --freeze fc1", "--freeze: gvcl does not use it"},
           {gvcl + "--tasks 0,1/2,3 --architecture rnn:8", "use mlp:"}}) {
    CAPTURE(options);
    const Result result = run(options.find("--architecture") == std::string::npos
                                  ? plain + options
                                  : "train --quiet --data fashion-mnist --samples 20 --out " + out + " " + options);
    CHECK(result.code == 2);
    CHECK(lines_in(result.err) == 1);
    CHECK(result.err.find(why) != std::string::npos);
    CHECK_FALSE(fs::exists(out));
  }
}

}  // namespace afterimage::test
