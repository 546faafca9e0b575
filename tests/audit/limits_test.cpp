// Limits of an audit: time, memory, and how long a signal may go unheard.
#include <fmt/format.h>
#include <signal.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <set>
#include <thread>

#include "models/formats/npz.h"
#include "models/parameters.h"
#include "tests/audit/background.h"
#include "tests/audit/program.h"

namespace afterimage::test {

TEST_CASE("an audit that runs out of time ends soon and reports the results so far as inconclusive") {
  const Folder folder;
  const std::string run_folder = small_run(folder);
  const std::string audit = "audit " + run_folder + " --quiet --time-limit ";
  CHECK(run(audit + "0.001 --out " + (folder / "none")).code == 3);
  const auto report = json_in(folder / "none/report.json");
  for (const auto& finding : report["findings"]) {
    CAPTURE(finding["attack"]);
    if (finding["attack"] == "span") continue;  // done at once
    // Whether an attack applies does not depend on the time limit.
    if (std::set<std::string>{"kkt", "infinite-width", "lira", "rmia"}.count(finding["attack"]) > 0) {
      CHECK(finding["status"] == "not-applicable");
      continue;
    }
    CHECK(finding["status"] == "inconclusive");
    CHECK(finding["reason"].get<std::string>().find("--time-limit") != std::string::npos);
  }
  CHECK(run("verify " + (folder / "none/report.json")).code == 3);
  // Long enough: the same as without a limit.
  CHECK(run(audit + "250 --out " + (folder / "all")).code == 0);
  CHECK(run("audit " + run_folder + " --quiet --out " + (folder / "unlimited")).code == 0);
  auto all = json_in(folder / "all/report.json"), unlimited = json_in(folder / "unlimited/report.json");
  CHECK(all["findings"] == unlimited["findings"]);
  CHECK(run(audit + "0 --out " + (folder / "wrong")).code == 2);
}

TEST_CASE("a dry run estimates time and memory and writes nothing, and attacks over a memory limit are not begun") {
  const Folder folder;
  const std::string run_folder = small_run(folder);
  const std::string out = folder / "r";
  const Result dry = run("audit " + run_folder + " --quiet --dry-run --out " + out);
  CHECK(dry.code == 0);
  for (const char* attack : {"span", "loss", "lira", "rmia", "tangent-background", "tangent-membership", "vertices",
                             "finite-width", "flow", "kkt", "infinite-width"}) {
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

TEST_CASE("a signal during one long operation ends the program within two seconds") {
  const Folder folder;
  constexpr std::int64_t size = 5000;  // whose decomposition takes a minute
  Generator random = seeded(1);
  const Parameters initial({{"0.weight", at::randn({size, size}, random, at::kFloat)},
                            {"0.bias", at::zeros({size})},
                            {"2.weight", at::randn({1, size}, random, at::kFloat)},
                            {"2.bias", at::zeros({1})}});
  write_parameters(folder / "initial.safetensors", initial);
  write_parameters(folder / "trained.safetensors", initial.times(0.9));
  write_npz(folder / "training.npz",
            {{"images", to_array(at::rand({2, size}, random, at::kFloat))}, {"labels", to_array(at::arange(2))}});
  write_npz(folder / "control.npz",
            {{"images", to_array(at::rand({20, size}, random, at::kFloat))}, {"labels", to_array(at::arange(20) % 2)}});
  for (const int signal : {SIGINT, SIGTERM}) {
    const std::string out = folder / fmt::format("r{}", signal);
    const pid_t child = start({"audit", "--quiet", "--initial", folder / "initial.safetensors", "--trained",
                               folder / "trained.safetensors", "--training-set", folder / "training.npz", "--control",
                               "npz:" + (folder / "control.npz"), "--task", "classes:0,1", "--out", out});
    std::this_thread::sleep_for(std::chrono::seconds(5));
    const auto sent = std::chrono::steady_clock::now();
    REQUIRE(::kill(child, signal) == 0);
    CHECK(code_of(child) == 130);
    CHECK(std::chrono::steady_clock::now() - sent < std::chrono::seconds(2));
  }
}

}  // namespace afterimage::test
