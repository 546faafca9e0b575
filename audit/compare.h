// The same audit under several defence settings.
#pragma once

#include <filesystem>
#include <functional>

#include "audit/context.h"
#include "audit/spec.h"
#include "reports/comparison.h"

namespace afterimage {

struct CompareRequest {
  CompareSpec spec;
  std::filesystem::path out;
  std::int64_t jobs = 0;  // runs at once; 0: as many as threads
  bool resume = false;    // use what an interrupted comparison of the same spec left in `out`
  // Throws UsageError or InputError where `train` would refuse a setting; called before any is trained.
  std::function<void(std::size_t setting)> check = [](std::size_t) {};
};

// The words of the command lines that train and audit a setting with a seed in `folder`.
std::vector<std::string> train_words(const CompareSpec& spec, const ComparedSetting& setting, std::int64_t seed,
                                     const std::filesystem::path& folder, int threads);
std::vector<std::string> audit_words(const CompareSpec& spec, std::int64_t seed, const std::filesystem::path& folder,
                                     int threads);

// Trains every setting with every seed and audits it against the original training images, each in a folder of its own
// below `out` (run/ and report/), then writes comparison.json and comparison.html. A run that fails is reported as
// failed, and the others go on. Throws UsageError and InputError as a run does, naming the run; Interrupted.
DefenseComparison run_comparison(const CompareRequest& request, const Context& context);

}  // namespace afterimage
