// Options without effect, invalid values, and results that cannot be written.
#include <catch2/catch.hpp>

#include "tests/audit/program.h"

namespace afterimage::test {
namespace {

const std::string data = " --data fashion-mnist --task odd-even --samples 8 ";

// Refused with this exit code, in one line that contains all of `named`; `out` is not created.
void check_refused(const std::string& arguments, const std::vector<std::string>& named, const std::string& out = "",
                   int code = 2) {
  CAPTURE(arguments);
  const Result result = run(arguments + (out.empty() ? "" : " --out " + out));
  CAPTURE(result.err);
  CHECK(result.code == code);
  CHECK(lines_in(result.err) == 1);
  for (const auto& name : named) CHECK(result.err.find(name) != std::string::npos);
  CHECK(result.out.empty());
  std::error_code ignored;
  CHECK_FALSE(fs::exists(out, ignored));
}

// The program with stdout redirected: its exit code and its stderr.
Result run_into(const std::string& target, const std::string& arguments) {
  const Folder folder;
  const int status =
      std::system((std::string(PROGRAM) + " " + arguments + " >" + target + " 2>" + (folder / "err")).c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, "", contents(folder / "err")};
}

}  // namespace

TEST_CASE("an option of another attack or defence is refused, with those that have it") {
  const Folder folder;
  const std::string run_folder = small_run(folder), out = folder / "out";
  check_refused("attack --quiet span " + run_folder + " --candidates 3", {"--candidates", "span", "finite-width"}, out);
  check_refused("attack --quiet span " + run_folder + " --segments 7", {"--segments", "flow"}, out);
  check_refused("audit --quiet " + run_folder + " --attacks span,vertices --steps 5", {"--steps", "kkt"}, out);
  check_refused("distill --quiet random-subset --channels 3" + data, {"--channels", "per-class"}, out);
  check_refused("distill --quiet random-labels --points leverage" + data, {"--points", "has none"}, out);
  // One of the chosen attacks is enough.
  CHECK(run("audit --quiet " + run_folder + " --attacks span,vertices --directions 9 --dry-run --out " + out).code ==
        0);
}

TEST_CASE("an attack takes a run or a network of infinite width, and refuses options of the other") {
  const Folder folder;
  const std::string run_folder = small_run(folder), out = folder / "out",
                    infinite = "attack --quiet infinite-width" + data;
  check_refused(infinite + run_folder, {"RUN", "--data"}, out);
  for (const std::string option : {"--trained x.pt", "--key model", "--control npz:x.npz", "--unknown-start"}) {
    check_refused(infinite + option, {option.substr(0, option.find(' ')), "--data"}, out);
  }
  for (const std::string option :
       {"--depth 5", "--samples 99", "--grey", "--mean none", "--resize 9x9", "--weight-variance 7"}) {
    check_refused("attack --quiet span " + run_folder + " " + option, {option.substr(0, option.find(' ')), "--data"},
                  out);
  }
}

TEST_CASE("the option --task is refused beside a run, which has its own") {
  const Folder folder;
  const std::string run_folder = small_run(folder);
  for (const std::string command : {"audit ", "attack span ", "deviation "}) {
    check_refused(command + run_folder + " --quiet --task multiclass", {"--task", "RUN"}, folder / "out");
  }
}

TEST_CASE("numbers that are not finite are refused with the name of the option") {
  const Folder folder;
  const std::string train = "train --quiet --architecture mlp:16" + data, out = folder / "out";
  for (const std::string value : {"nan", "inf", "-1", "1e999", "much"}) {
    for (const std::string option :
         {"--learning-rate", "--momentum", "--weight-decay", "--until-loss", "--first-layer-scale"}) {
      check_refused(train + option + " " + value, {option + ": ", value, "has to be"}, out);
    }
    for (const std::string option : {"--weight-variance", "--bias-variance"}) {
      check_refused("attack --quiet infinite-width" + data + option + " " + value, {option, value, "has to be"}, out);
    }
    check_refused("audit --quiet nowhere --time-limit " + value, {"--time-limit", value, "has to be"}, out);
  }
  check_refused(train + "--momentum 1", {"--momentum", "0.9999"}, out);
  check_refused(train + "--learning-rate 0", {"--learning-rate", "positive"}, out);
}

TEST_CASE("counts that are not positive whole numbers are refused before the data are read") {
  const Folder folder;
  const std::string source = " --data fashion-mnist --task odd-even", out = folder / "out";
  for (const std::string samples : {"-3", "0", "2.5", "many", "99999999999999999999"}) {
    for (const std::string command :
         {"train --architecture mlp:16", "distill random-subset", "attack infinite-width"}) {
      check_refused(command + source + " --samples " + samples, {"--samples", samples, "whole number"}, out);
    }
  }
  const std::string train = "train --architecture mlp:16 --samples 8" + source;
  for (const std::string option : {"--steps 0", "--steps 1.5", "--batch -1", "--patience -1", "--augment -1"}) {
    check_refused(train + " " + option, {option.substr(0, option.find(' ')), "whole number"}, out);
  }
  check_refused("distill kip --samples 8 --per-class 1.5" + source, {"--per-class", "1.5", "whole number"}, out);
  check_refused("audit nowhere --steps many", {"--steps", "many", "whole number"}, out);
  check_refused("audit nowhere --space here", {"--space", "here", "auto, pixels or span"}, out);
  check_refused("audit nowhere --control-samples 19", {"--control-samples", "19", "20 to 1000000"}, out);
}

TEST_CASE("the help of each command shows the types of its options") {
  for (const std::string command : {"", "demo", "train", "audit", "attack", "distill", "compare", "deviation", "gate",
                                    "inspect", "render", "verify"}) {
    CAPTURE(command);
    const Result help = run(command + " --help");
    CHECK(help.code == 0);
    for (const char* type : {" TEXT", " INT", " FLOAT", "UINT"}) {
      CAPTURE(type);
      const auto found = help.out.find(type);
      CHECK((found == std::string::npos || help.out.compare(found, 8, " INTEGER") == 0));
    }
  }
  const std::string help = run("attack --help").out;
  for (const char* shown : {"RUN FOLDER", "--initial FILE", "--samples INTEGER:POSITIVE", "--depth INTEGER:1 to 31",
                            "--space auto|pixels|span", "--smoothness NUMBER|auto", "--tangents NUMBER,..."}) {
    CAPTURE(shown);
    CHECK(help.find(shown) != std::string::npos);
  }
}

TEST_CASE("a name that no file can have is bad usage and not an internal failure") {
  const Folder folder;
  const std::string name(300, 'x'), train = "train --quiet --architecture mlp:16" + data;
  check_refused("audit --quiet " + name, {name, "no such run directory"}, folder / "out", 4);
  check_refused(train, {"--out", "too long"}, folder / name);
  check_refused("distill --quiet random-subset" + data, {"--out", "too long"}, folder / name);
  check_refused("compare --quiet " + std::string(TEST_DATA) + "/compare.json", {name, "too long"}, folder / name);
  write(folder / "file", "");
  check_refused(train, {"--out", "not a folder"}, folder / "file/run");
}

TEST_CASE("a page or a gate's file that cannot be written is refused before the report is read, and none is written") {
  const Folder folder;
  const std::string nowhere = folder / "missing/file", gate = "gate missing.json --policy missing.json",
                    sarif = folder / "gate.sarif";
  fs::create_directory(folder / "there");
  check_refused("render missing.json", {"--out", "no folder"}, nowhere);
  check_refused("render missing.json --out " + (folder / "there"), {"--out", "is a folder"});
  check_refused("render missing.json --out /dev/null", {"--out", "not a regular file"});
  check_refused("render missing.json", {"--out", "too long"}, folder / std::string(250, 'x'));  // while it is written
  check_refused(gate + " --sarif " + nowhere, {"--sarif", "no folder"});
  check_refused(gate + " --junit " + nowhere, {"--junit", "no folder"});

  const std::string run_folder = small_run(folder), report = folder / "report";
  REQUIRE(run("audit --quiet " + run_folder + " --attacks span --out " + report).code == 0);
  const std::string gated = "gate " + report + "/report.json --policy " + TEST_DATA + "/policy.json --sarif " + sarif;
  check_refused(gated + " --junit " + (folder / "there"), {"--junit", "is a folder"});
  CHECK_FALSE(fs::exists(sarif));
  CHECK(run(gated + " --junit " + (folder / "gate.xml")).code != 2);
  CHECK(fs::exists(sarif));
  CHECK(fs::exists(folder / "gate.xml"));
}

TEST_CASE("a result that cannot be written to a full disk is a failure") {
  for (const std::string arguments : {"attack list", "--help", "--version", "audit --help"}) {
    CAPTURE(arguments);
    const Result result = run_into("/dev/full", arguments);
    CHECK(result.code == 5);
    CHECK(lines_in(result.err) == 1);
  }
}

#ifndef __SANITIZE_ADDRESS__  // whose shadow memory the limit forbids
TEST_CASE("an allocation that fails inside LibTorch is reported as out of memory") {
  const Folder folder;
  // The second of these layers' weights would take 4 TiB.
  const std::string command = "ulimit -v 67108864; " + std::string(PROGRAM) +
                              " train --quiet --architecture mlp:16,1048576,1048576" + data + "--out " +
                              (folder / "out") + " 2>" + (folder / "err");
  const int status = std::system(command.c_str());
  CHECK(WEXITSTATUS(status) == 5);
  CHECK(contents(folder / "err") == "afterimage: out of memory; use fewer images or a smaller network\n");
  CHECK_FALSE(fs::exists(folder / "out"));
}
#endif

TEST_CASE("an unknown command is named, whatever options precede it") {
  check_refused("--threads 1 frobnicate", {"frobnicate: no such command"});
  check_refused("--quiet --seed 3 frobnicate --samples 8", {"frobnicate: no such command"});
  check_refused("--frobnicate 8", {"--frobnicate: no such option"});
}

TEST_CASE("a spec with help, or an option that the comparison sets itself, is refused by that option's name") {
  const Folder folder;
  const auto refused = [&](const std::string& command, const std::string& option) {
    nlohmann::json spec = json_in(std::string(TEST_DATA) + "/compare.json");
    spec[command][option] = true;
    write(folder / "spec.json", spec.dump());
    check_refused("compare --quiet " + (folder / "spec.json"), {command, "--" + option}, folder / "out");
  };
  refused("train", "help");
  refused("audit", "help");
  refused("audit", "version");
  refused("audit", "task");
}

TEST_CASE("a data file whose name is not UTF-8 is trained on, and the record of it is JSON") {
  const Folder folder;
  const std::string file = folder / "na\xffme.npz", out = folder / "run";
  REQUIRE(run("distill --quiet random-subset --per-class 4 --out " + file + data).code == 0);
  REQUIRE(run("train --quiet --steps 3 --architecture mlp:16 --task odd-even --samples 8 --data npz:" + file +
              " --out " + out)
              .code == 0);
  CHECK(json_in(out + "/training.json")["data"] == "npz:" + (folder / "na\xef\xbf\xbdme.npz"));
  CHECK(fs::exists(out + "/model.json"));
}

TEST_CASE("what training would refuse is refused before a defence begins") {
  const Folder folder;
  const auto train = [](const std::string& defense, const std::string& task, const std::string& options) {
    return "train --quiet --data fashion-mnist --samples 20 --architecture mlp:16 --defense " + defense +
           " --defense-option per-class=1 --defense-option distillation-steps=100000000 --task " + task + " " + options;
  };
  const std::string out = folder / "out";
  for (const std::string defense : {"kip", "rkip", "rkip-finite"}) {
    check_refused(train(defense, "multiclass", "--loss cross-entropy"), {"--loss cross-entropy", defense}, out);
    check_refused(train(defense, "odd-even", "--loss cross-entropy"), {"--loss cross-entropy", "several outputs"}, out);
    check_refused(train(defense, "odd-even", "--freeze nothing"), {"--freeze nothing"}, out);
  }
  // Labels that stay those of the classes are probabilities.
  CHECK(run("train --quiet --data fashion-mnist --samples 20 --architecture mlp:16 --task multiclass --steps 3 --loss "
            "cross-entropy --defense kip --defense-option per-class=1 --defense-option distillation-steps=2 "
            "--defense-option labels=fixed --out " +
            out)
            .code == 0);
}

}  // namespace afterimage::test
