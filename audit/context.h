// What every command is given: the global options, and how to talk to the user.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "models/foundations/progress.h"
#include "reports/report.h"

namespace afterimage {

struct Context {
  int threads = 0;  // 0: all cores
  std::int64_t seed = 0;
  std::string device = "cpu";
  bool quiet = false, verbose = false;
  std::string command;  // as typed, with the output folder left open
  std::unique_ptr<Progress> progress;

  Tool tool() const;
};

// A seed for one stage of a run, so that stages do not share random numbers.
std::uint64_t stage_seed(std::int64_t seed, const std::string& stage);

// The exit codes of the contract.
enum ExitCode {
  done = 0,
  violated = 1,
  bad_usage = 2,
  inconclusive = 3,
  bad_input = 4,
  internal = 5,
  interrupted = 130
};
int exit_code(Verdict verdict);

}  // namespace afterimage
