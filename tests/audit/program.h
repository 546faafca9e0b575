// Runs the built program as a user or a script does.
#pragma once

#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "tests/folder.h"

namespace afterimage::test {

namespace fs = std::filesystem;

inline std::string contents(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

inline void write(const std::string& file, const std::string& text) { std::ofstream(file, std::ios::binary) << text; }

inline nlohmann::json json_in(const std::string& file) { return nlohmann::json::parse(contents(file)); }

// The finding of an attack in a report. Throws where there is none.
template <class Report>
auto& finding_of(Report& report, const std::string& attack) {
  for (auto& finding : report["findings"]) {
    if (finding["attack"] == attack) return finding;
  }
  throw std::runtime_error("no finding of " + attack);
}

inline std::int64_t lines_in(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

// A report without `timing`, in which two runs of one seed differ.
inline nlohmann::json without_timing(const std::string& report) {
  auto document = json_in(report);
  document.erase("timing");
  return document;
}

// A policy that allows no reconstructed image.
inline constexpr const char* strict = R"({"schema": "afterimage.policy/1", "max_reconstructed_rate": 0.0})";

struct Result {
  int code = -1;
  std::string out, err;
};

// `arguments` as typed into a shell. The program runs in a copy of a process in which it is loaded already.
Result run(const std::string& arguments);

// Likewise, by a shell from its file, as users do.
Result run_in_shell(const std::string& arguments);

// A small trained network, good enough for every attack: a second of work.
inline std::string trained_run(const Folder& folder, const std::string& name, const std::string& options = "") {
  const std::string out = folder / name;
  const Result trained =
      run("train --quiet --data fashion-mnist --task odd-even --samples 8 --architecture mlp:128,128 --out " + out +
          " " + options);
  if (trained.code != 0) throw std::runtime_error("training failed: " + trained.err);
  return out;
}

// The same, trained once for all tests that use these options, and copied. TRAINED_RUNS is a folder of the build; the
// program's date is part of a run's name, so that a new program trains anew.
inline std::string small_run(const Folder& folder, const std::string& name = "run", const std::string& options = "") {
  const auto written = fs::last_write_time(PROGRAM).time_since_epoch();
  const std::string program = std::to_string(std::chrono::duration_cast<std::chrono::microseconds>(written).count());
  const fs::path kept = fs::path(TRAINED_RUNS) / (program + "-" + std::to_string(std::hash<std::string>()(options)));
  std::error_code ignored;
  if (!fs::exists(kept)) {
    fs::create_directories(TRAINED_RUNS);
    for (const auto& old : fs::directory_iterator(TRAINED_RUNS)) {
      if (!old.path().filename().string().starts_with(program)) fs::remove_all(old, ignored);
    }
    std::string fresh = kept.string() + ".XXXXXX";
    if (::mkdtemp(fresh.data()) == nullptr) throw std::runtime_error("no folder can be made in " TRAINED_RUNS);
    const Folder own;
    fs::copy(trained_run(own, "run", options), fresh + "/run", fs::copy_options::recursive);
    fs::rename(fresh, kept, ignored);  // another test may have been first
    fs::remove_all(fresh, ignored);
  }
  fs::copy(kept / "run", folder / name, fs::copy_options::recursive);
  return folder / name;
}

}  // namespace afterimage::test
