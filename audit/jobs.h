// Runs this program several times at once, as many as processors and memory allow, each in its own process: one that
// fails or is killed does not affect the others.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "models/foundations/progress.h"

namespace afterimage {

struct ProcessJob {
  std::string name;                                // for progress
  std::vector<std::vector<std::string>> commands;  // words after the program's name; run one after the other
  std::filesystem::path log;                       // their output; errors come last
};

struct ProcessResult {
  int exit_code = 0;    // of the last command that was run; 3, an audit that is inconclusive, is no failure
  std::string message;  // the last line on stderr of a command that failed
};

// At most `most` at once. The first runs alone, and its memory tells how many others fit at a time. `done` is called as
// each ends. On an exception, Interrupted included, running processes are interrupted and waited for.
void run_jobs(const std::vector<ProcessJob>& jobs, std::int64_t most, Progress& progress,
              const std::function<void(std::size_t, const ProcessResult&)>& done);

}  // namespace afterimage
