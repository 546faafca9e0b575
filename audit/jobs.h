// Runs this program itself several times at once, as many as processors and memory allow: each in a process of its own,
// so that one that fails or is killed takes no other with it.
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
  std::vector<std::vector<std::string>> commands;  // words after the program's name; the next begins when one is done
  std::filesystem::path log;                       // what they print, and last what went wrong
};

struct ProcessResult {
  int exit_code = 0;    // of the last command that was run; 3, an audit that is inconclusive, is no failure
  std::string message;  // the last line on stderr of a command that failed
};

// At most `most` at once. The first runs alone: what it takes of memory says how many fit beside each other. `done` is
// called as each ends. On an exception, Interrupted among them, those that run are interrupted and waited for.
void run_jobs(const std::vector<ProcessJob>& jobs, std::int64_t most, Progress& progress,
              const std::function<void(std::size_t, const ProcessResult&)>& done);

}  // namespace afterimage
