// Audits that end early, are killed, or are not begun.
#include <signal.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <thread>

#include "models/base/folder_lock.h"
#include "tests/audit/background.h"
#include "tests/audit/program.h"

namespace afterimage::test {
TEST_CASE("an audit that runs out of time ends soon, with what it has, and says so") {
  const Folder folder;
  const std::string run_folder = small_run(folder);
  const std::string audit = "audit " + run_folder + " --quiet --time-limit ";
  CHECK(run(audit + "0.001 --out " + (folder / "none")).code == 3);
  const auto report = json_in(folder / "none/report.json");
  for (const auto& finding : report["findings"]) {
    CHECK(finding["status"] == "inconclusive");
    CHECK(finding["reason"].get<std::string>().find("--time-limit") != std::string::npos);
  }
  CHECK(run("verify " + (folder / "none/report.json")).code == 3);
  // Long enough to end by itself: as without a limit.
  CHECK(run(audit + "250 --out " + (folder / "all")).code == 0);
  CHECK(run("audit " + run_folder + " --quiet --out " + (folder / "unlimited")).code == 0);
  auto all = json_in(folder / "all/report.json"), unlimited = json_in(folder / "unlimited/report.json");
  CHECK(all["findings"] == unlimited["findings"]);
  CHECK(run(audit + "0 --out " + (folder / "wrong")).code == 2);
}

TEST_CASE("a dry run says what attacks would take and writes nothing; a memory limit keeps them from being begun") {
  const Folder folder;
  const std::string run_folder = small_run(folder);
  const std::string out = folder / "r";
  const Result dry = run("audit " + run_folder + " --quiet --dry-run --out " + out);
  CHECK(dry.code == 0);
  for (const char* attack : {"span", "vertices", "finite-width", "flow", "kkt", "infinite-width"}) {
    CHECK(dry.out.find(attack) != std::string::npos);
  }
  CHECK_FALSE(fs::exists(out));
  CHECK(run("audit " + run_folder + " --quiet --memory-limit 1MiB --out " + out).code == 3);
  const auto limited = json_in(out + "/report.json");
  for (const auto& finding : limited["findings"]) {
    CHECK(finding["status"] == "inconclusive");
    CHECK(finding["reason"].get<std::string>().find("--memory-limit is 1 MiB") != std::string::npos);
  }
  CHECK(run("audit " + run_folder + " --quiet --memory-limit 100GiB --out " + (folder / "free")).code == 0);
  const Result wrong = run("audit " + run_folder + " --quiet --memory-limit much --out " + (folder / "none"));
  CHECK(wrong.code == 2);
  CHECK(wrong.err.find("--memory-limit much: has to be a size") != std::string::npos);
}

TEST_CASE("Ctrl-C exits 130, and with --resume the same audit goes on to the same report") {
  const Folder folder;
  const std::string run_folder = small_run(folder);
  const std::string out = folder / "r";
  const pid_t child = start({"audit", run_folder, "--quiet", "--attacks", "span,finite-width", "--rounds", "0",
                             "--steps", "1000000", "--out", out});
  for (int i = 0; i < 200 && !fs::exists(out + "/span.partial.json"); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  REQUIRE(fs::exists(out + "/span.partial.json"));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  ::kill(child, SIGINT);
  int status = 0;
  ::waitpid(child, &status, 0);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 130);
  CHECK_FALSE(fs::exists(out + "/report.json"));
  CHECK(run("audit " + run_folder + " --quiet --out " + out).code == 2);  // without --resume the folder is not empty
  CHECK(run("audit " + run_folder + " --quiet --resume --out " + out).code == 0);
  REQUIRE(run("audit " + run_folder + " --quiet --out " + (folder / "whole")).code == 0);
  CHECK(without_timing(out + "/report.json") == without_timing(folder / "whole/report.json"));
}

TEST_CASE("one attack alone goes on with --resume to the same result") {
  const Folder folder;
  const std::string run_folder = small_run(folder), out = folder / "r", state = out + "/finite-width.state.safetensors";
  const auto attack = [&](const std::string& into) {
    return std::vector<std::string>{"attack", "finite-width", run_folder, "--quiet",   "--rounds", "0",     "--steps",
                                    "6000",   "--space",      "pixels",   "--threads", "1",        "--out", into};
  };
  const pid_t child = start(attack(out));
  for (int i = 0; i < 400 && !fs::exists(state); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(25));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  REQUIRE(fs::exists(state));
  const auto finish = [](std::vector<std::string> words, bool resume) {
    if (resume) words.emplace_back("--resume");
    int status = 0;
    ::waitpid(start(words), &status, 0);
    return WEXITSTATUS(status);
  };
  CHECK(finish(attack(out), false) == 2);  // the folder is not empty
  // What was kept is read: damaged, it is refused.
  const std::string damaged = folder / "damaged";
  fs::create_directories(damaged);
  write(damaged + "/finite-width.state.safetensors", "no state");
  CHECK(finish(attack(damaged), true) == 4);
  // What another command left is not touched.
  const std::string audited = folder / "audited";
  fs::create_directories(audited);
  write(audited + "/span.partial.json", "{}");
  CHECK(finish(attack(audited), true) == 2);
  CHECK(fs::exists(audited + "/span.partial.json"));
  CHECK(finish(attack(out), true) == finish(attack(folder / "whole"), false));
  CHECK(contents(out + "/result.json") == contents(folder / "whole/result.json"));
  CHECK(contents(out + "/reconstruction.npz") == contents(folder / "whole/reconstruction.npz"));
  CHECK_FALSE(fs::exists(state));
}

TEST_CASE("a demo goes on with --resume: the network that was trained is not trained again") {
  const Folder folder;
  const std::string out = folder / "demo", model = out + "/run/model.json";
  const auto demo_until = [&](const std::string& file, std::vector<std::string> words) {
    words.insert(words.begin(), {"demo", "--quiet", "--out", out});
    const pid_t child = start(words);
    while (!fs::exists(file) && ::waitpid(child, nullptr, WNOHANG) == 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(25));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    return fs::exists(file);
  };
  REQUIRE(demo_until(model, {}));
  const auto trained_at = fs::last_write_time(model);
  CHECK(run("demo --quiet --resume --full --out " + out).code == 2);
  CHECK(run("demo --quiet --resume --seed 3 --out " + out).code == 2);
  {
    const FolderLock lock(out);
    CHECK(run("demo --quiet --out " + out).code == 2);
  }
  REQUIRE(fs::exists(model));
  REQUIRE(demo_until(out + "/comparison/spec.json", {"--resume"}));
  CHECK(fs::last_write_time(model) == trained_at);
  CHECK(fs::exists(out + "/report/report.json"));
}

TEST_CASE("attacks that an audit does not begin leave nothing of an earlier one in its folder") {
  const Folder folder;
  const std::string out = folder / "r",
                    audit = "audit " + small_run(folder) + " --quiet --attacks span,vertices --out ";
  REQUIRE(run(audit + out).code == 0);
  REQUIRE(fs::exists(out + "/vertices.npz"));
  CHECK(run(audit + out + " --resume --memory-limit 1MiB").code == 3);
  CHECK_FALSE(fs::exists(out + "/vertices.npz"));
  CHECK(run("verify " + out + "/report.json").code == 3);
}

TEST_CASE("two runs do not write to one folder at a time: the second says so, and goes on once the first has ended") {
  const Folder folder;
  const std::string run_folder = small_run(folder);
  const std::string out = folder / "r", audit = "audit " + run_folder + " --quiet --attacks span --resume --out " + out;
  fs::create_directories(out);
  const std::string spec = folder / "spec.json";
  write(spec, R"({"schema": "afterimage.compare/1", "data": "fashion-mnist", "task": "odd-even", "samples": 8,
                  "architecture": "mlp:64,64", "seeds": [1], "settings": [{"defense": "none"}]})");
  {
    const FolderLock lock(out);
    const Result compared = run("compare " + spec + " --quiet --resume --out " + out);
    CHECK(compared.code == 2);
    CHECK(compared.err.find("another run writes there now") != std::string::npos);
    CHECK(fs::is_empty(out));
  }
  auto ending = std::make_unique<FolderLock>(out);
  std::thread end([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));
    ending.reset();
  });
  CHECK(run(audit).code == 0);
  end.join();
}

TEST_CASE("an audit killed at any moment goes on with --resume to the same report") {
  const Folder folder;
  const std::string run_folder = small_run(folder);
  const std::string options = " --quiet --rounds 1 --attacks span,finite-width --steps 3000 --out ";
  REQUIRE(run("audit " + run_folder + options + (folder / "whole")).code != 5);
  for (const int milliseconds : {200, 1300, 2500}) {
    const std::string out = folder / ("killed-" + std::to_string(milliseconds));
    const pid_t child = start({"audit", run_folder, "--quiet", "--rounds", "1", "--attacks", "span,finite-width",
                               "--steps", "3000", "--out", out});
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    run("audit " + run_folder + options + out + " --resume");
    CAPTURE(milliseconds);
    CHECK(without_timing(out + "/report.json") == without_timing(folder / "whole/report.json"));
    for (const auto& entry : fs::directory_iterator(out)) {
      const std::string name = entry.path().filename().string();
      CHECK(name.find(".tmp-") == std::string::npos);
      CHECK(name.find(".state") == std::string::npos);
    }
  }
}

}  // namespace afterimage::test
