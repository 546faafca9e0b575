// Audits that are interrupted or killed, and what is left of them.
#include <signal.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "audit/interrupted.h"
#include "audit/stored.h"
#include "models/foundations/error.h"
#include "models/foundations/folder_lock.h"
#include "tests/audit/background.h"
#include "tests/audit/program.h"

namespace afterimage::test {

TEST_CASE("Ctrl-C exits 130, and with --resume the audit continues to the same report") {
  const Folder folder;
  const std::string run_folder = small_run(folder);
  const std::string out = folder / "r", state = out + "/finite-width.state.safetensors";
  const auto audit = [&](const std::string& into) {
    return std::vector<std::string>{"audit",    run_folder, "--quiet", "--attacks", "span,finite-width",
                                    "--rounds", "0",        "--steps", "4000",      "--space",
                                    "pixels",   "--out",    into};
  };
  const pid_t child = start(audit(out));
  REQUIRE(appears(state, child));
  ::kill(child, SIGINT);
  CHECK(code_of(child) == 130);
  REQUIRE(fs::exists(state));
  CHECK_FALSE(fs::exists(out + "/report.json"));
  CHECK(code_of(start(audit(out))) == 2);  // without --resume the folder is not empty
  // The report is made from the stored finding: a mark in it appears there. One of another seed is not used.
  auto kept = json_in(out + "/span.partial.json");
  REQUIRE(kept["finding"].contains("iterations"));
  kept["finding"]["iterations"] = 12345;
  write(out + "/span.partial.json", kept.dump());
  const std::string other = folder / "other";
  fs::copy(out, other);
  const auto resumed = [&](const std::string& into, std::vector<std::string> more) {
    auto words = audit(into);
    words.emplace_back("--resume");
    words.insert(words.begin(), more.begin(), more.end());
    return code_of(start(words));
  };
  // When damaged, it is refused with the name of the file to remove.
  const auto refused = [&](const std::vector<nlohmann::json>& samples, const std::string& named) {
    auto spoiled = kept;
    spoiled["finding"]["samples"] = samples;
    const std::string damaged = folder / "damaged";
    fs::copy(out, damaged, fs::copy_options::overwrite_existing | fs::copy_options::recursive);
    write(damaged + "/span.partial.json", spoiled.dump());
    std::string line;
    for (const auto& word : audit(damaged)) line += word + " ";
    const Result result = run(line + "--resume");
    CAPTURE(result.err, named);
    CHECK(result.code == 4);
    CHECK(lines_in(result.err) == 1);
    CHECK(result.err.find("damaged/" + named) != std::string::npos);
  };
  const auto sample = [](std::int64_t index) {
    return nlohmann::json{{"index", index}, {"label", "1"}, {"relative_distance", 0.1}, {"reconstructed", true}};
  };
  refused({sample(1'000'000'000'000)}, "span.partial.json: finding.samples has the index 1000000000000");
  refused({sample(1), sample(1)}, "span.partial.json: finding.samples has the index 1 twice");
  refused({sample(1)}, "span.npz: has no images");
  REQUIRE(resumed(other, {"--seed", "9"}) != 5);
  CHECK(json_in(other + "/report.json")["findings"][0]["iterations"] != 12345);
  REQUIRE(resumed(out, {}) != 5);
  REQUIRE(code_of(start(audit(folder / "whole"))) != 5);
  auto report = without_timing(out + "/report.json"), whole = without_timing(folder / "whole/report.json");
  CHECK(report["findings"][0]["iterations"] == 12345);
  report["findings"][0]["iterations"] = whole["findings"][0]["iterations"];
  CHECK(report == whole);
}

TEST_CASE("a training that keeps no state says so when it is interrupted") {
  const Folder folder;
  const std::string out = folder / "run";
  const std::string errors = folder / "errors";
  const std::string command =
      PROGRAM
      " train --data fashion-mnist --task odd-even --samples 8 --architecture mlp:64 --steps 100000000 --until-loss 0 "
      "--out " +
      out + " 2>" + errors + " & program=$!; until grep -q 'mlp:64 on 8' " + errors +
      "; do sleep 0.1; done; sleep 1; kill -TERM $program; wait $program";
  const int status = std::system(command.c_str());
  CHECK(WEXITSTATUS(status) == 130);
  CHECK(contents(errors).find("\nafterimage: interrupted; nothing was finished, and nothing is kept\n") !=
        std::string::npos);
  CHECK(folder.entries() == 1);
}

TEST_CASE("one attack alone resumes to the same result") {
  const Folder folder;
  const std::string run_folder = small_run(folder), out = folder / "r", state = out + "/finite-width.state.safetensors";
  const auto attack = [&](const std::string& into) {
    return std::vector<std::string>{"attack", "finite-width", run_folder, "--quiet",   "--rounds", "0",     "--steps",
                                    "6000",   "--space",      "pixels",   "--threads", "1",        "--out", into};
  };
  const pid_t child = start(attack(out));
  REQUIRE(appears(state, child));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  const auto finish = [](std::vector<std::string> words, bool resume) {
    if (resume) words.emplace_back("--resume");
    return code_of(start(words));
  };
  CHECK(finish(attack(out), false) == 2);  // the folder is not empty
  // The stored state is read: when damaged, it is refused.
  const std::string damaged = folder / "damaged";
  fs::create_directories(damaged);
  write(damaged + "/finite-width.state.safetensors", "no state");
  CHECK(finish(attack(damaged), true) == 4);
  // Files of another command are not changed.
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

TEST_CASE("a demo resumes without training again, and compares under its own seed") {
  const Folder folder;
  const std::string out = folder / "demo", model = out + "/run/model.json";
  const auto demo_until = [&](const std::string& file, std::vector<std::string> words) {
    words.insert(words.begin(), {"demo", "--quiet", "--seed", "3", "--out", out});
    const pid_t child = start(words);
    const bool there = appears(file, child);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    return there;
  };
  REQUIRE(demo_until(model, {}));
  const auto trained_at = fs::last_write_time(model);
  CHECK(run("demo --quiet --resume --seed 3 --full --out " + out).code == 2);
  CHECK(run("demo --quiet --resume --seed 4 --out " + out).code == 2);
  {
    const FolderLock lock(out);
    CHECK(run("demo --quiet --out " + out).code == 2);
  }
  REQUIRE(fs::exists(model));
  REQUIRE(demo_until(out + "/report/span.partial.json", {"--resume"}));
  CHECK(fs::last_write_time(model) == trained_at);
  REQUIRE(demo_until(out + "/comparison/spec.json", {"--resume"}));
  CHECK(json_in(out + "/comparison/spec.json")["seeds"] == nlohmann::json{3});
}

TEST_CASE("files of attacks that an audit does not begin are removed from its folder") {
  const Folder folder;
  const std::string out = folder / "r",
                    audit = "audit " + small_run(folder) + " --quiet --attacks span,vertices --out ";
  REQUIRE(run(audit + out).code == 0);
  REQUIRE(read_claim(out + "/vertices.npz").images.defined());
  CHECK(run(audit + out + " --resume --memory-limit 1MiB").code == 3);
  CHECK_FALSE(read_claim(out + "/vertices.npz").images.defined());
  CHECK(run("verify " + out + "/report.json").code == 3);
}

TEST_CASE("an audit refuses to resume in a folder with other files, and leaves them as they are") {
  const Folder folder;
  const std::string audit = "audit " + small_run(folder) + " --quiet --attacks span --resume --out ";
  for (const std::string name : {"notes.tmp-2024.txt", "notes.txt.tmp-2024", "span.npz.tmp-12x", "mine.partial.json",
                                 "runs-a.state.safetensors", "result.json", "report.json"}) {
    const std::string out = folder / ("with-" + name);
    fs::create_directory(out);
    write(out + "/" + name, R"({"total": 3})");
    const Result refused = run(audit + out);
    CAPTURE(name, refused.err);
    CHECK(refused.code == 2);
    CHECK(lines_in(refused.err) == 1);
    CHECK(refused.err.find("holds " + name) != std::string::npos);
    CHECK(contents(out + "/" + name) == R"({"total": 3})");
    CHECK(std::distance(fs::directory_iterator(out), fs::directory_iterator()) == 1);
  }
  // Files of an audit, complete or not, are replaced, and logs are kept.
  const std::string out = folder / "own";
  REQUIRE(run(audit + out).code == 0);
  for (const char* half : {"report.json.tmp-9", "span.npz.tmp-77.a1B2c3"}) write(out + "/" + half, "half");
  for (const char* log : {"log.txt", "audit.log"}) write(out + "/" + log, "log");
  CHECK(run(audit + out).code == 0);
  for (const char* half : {"report.json.tmp-9", "span.npz.tmp-77.a1B2c3"}) CHECK_FALSE(fs::exists(out + "/" + half));
  for (const char* log : {"log.txt", "audit.log"}) CHECK(contents(out + "/" + log) == "log");
}

TEST_CASE("a finished report of other inputs is not resumed into, and stays as it is") {
  const Folder folder;
  const std::string out = folder / "r", first = small_run(folder);
  REQUIRE(run("audit " + first + " --quiet --attacks span --out " + out).code == 0);
  const std::string before = contents(out + "/report.json"), other = folder / "other";
  REQUIRE(run("train --quiet --data fashion-mnist --task odd-even --samples 8 --architecture mlp:64 --steps "
              "50 --out " +
              other)
              .code == 0);
  const Result refused = run("audit " + other + " --quiet --attacks span --resume --out " + out);
  CHECK(refused.code == 2);
  CHECK(refused.err.find("a finished report of other inputs") != std::string::npos);
  CHECK(contents(out + "/report.json") == before);
}

TEST_CASE("a damaged stored finding is refused by the name of its file") {
  const Folder folder;
  const Leftovers leftovers(folder / "");
  const auto kept = [&](const std::vector<std::int64_t>& indices) {
    Finding finding;
    finding.attack = "span";
    for (const auto index : indices) {
      finding.samples.emplace_back();
      finding.samples.back().index = index;
    }
    leftovers.keep_finding(finding, "print");
    return leftovers.finding("span", "print", 3);
  };
  const auto of_file = Catch::Matchers::Contains("span.partial.json");
  CHECK(kept({0, 2, 1})->samples.size() == 3);
  for (const auto& indices : std::vector<std::vector<std::int64_t>>{{3}, {-1}, {1'000'000'000'000}, {0, 1, 0}}) {
    CHECK_THROWS_AS(kept(indices), InputError);
    CHECK_THROWS_WITH(kept(indices), of_file);
  }
  const std::string file = folder / "span.partial.json";
  const auto read = [&](const std::string& text) {
    write(file, text);
    return leftovers.finding("span", "print", 3);
  };
  CHECK_FALSE(read(R"({"fingerprint": "another"})"));
  for (const char* text : {"[]", "{}", R"({"fingerprint": 5})", R"({"fingerprint": "print"})",
                           R"({"fingerprint": "print", "finding": 5})"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(read(text), InputError);
    CHECK_THROWS_WITH(read(text), of_file);
  }
  // Its name is that of the file with its images.
  Finding another;
  another.attack = "../vertices";
  CHECK_THROWS_AS(read(Json{{"fingerprint", "print"}, {"finding", to_json(another)}}.dump()), InputError);
}

TEST_CASE("what is wrong in a kept state is told with the file that it is in") {
  const Folder folder;
  const std::string file = folder / "span.state.safetensors";
  FileStateStore(file, "print", false).keep(State().set("part", State().set("steps", 1.5)));
  const State kept = FileStateStore(file, "print", true).take().part("part");
  CHECK(kept.number("steps") == 1.5);
  CHECK_THROWS_WITH(kept.number("rounds"), file + ": has no rounds; start again without --resume");
  CHECK_THROWS_WITH(kept.whole("steps"), Catch::Contains(file) && Catch::Contains("steps has to hold whole numbers"));
}

TEST_CASE("of two runs in one folder the second is refused, and continues once the first has ended") {
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
    CHECK(compared.err.find("another run is writing there") != std::string::npos);
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

TEST_CASE("an audit killed at any moment resumes to the same report") {
  const Folder folder;
  const std::string run_folder = small_run(folder);
  const std::string options = " --quiet --rounds 1 --attacks span,finite-width --space pixels --steps 3000 --out ";
  REQUIRE(run("audit " + run_folder + options + (folder / "whole")).code != 5);
  // At moments after the first finding; the search takes seconds.
  for (const int milliseconds : {0, 800}) {
    const std::string out = folder / ("killed-" + std::to_string(milliseconds));
    const pid_t child = start({"audit", run_folder, "--quiet", "--rounds", "1", "--attacks", "span,finite-width",
                               "--space", "pixels", "--steps", "3000", "--out", out});
    REQUIRE(appears(out + "/span.partial.json", child));
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    REQUIRE_FALSE(fs::exists(out + "/report.json"));
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
