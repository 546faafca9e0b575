// SPEC.json of `compare`: what is trained and audited, with which defences.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "reports/report.h"

namespace afterimage {

struct ComparedSetting {
  std::string name, defense;
  std::map<std::string, std::string> options;  // of the defence, as typed on a command line
  std::vector<std::string> train;              // words of the command line
  Json own_train = Json::object();             // what the spec says of this setting alone
};

// { "schema": "afterimage.compare/1",
//   "data": DATA, "task": TASK, "samples": N, "architecture": ARCH,
//   "train": {options of `train` by name}, "audit": {options of `audit` by name}, "seeds": [1, 2, 3],
//   "settings": [ {"name": "KIP, 10 a class", "defense": "kip", "options": {"per-class": 10}}, ... ] }
// train, audit, seeds ([0]), name (the defence's) and options may be left out. Options that are flags are true or
// false. A setting may have a "train" of its own, whose options take the place of the common ones; null leaves one out.
struct CompareSpec {
  std::string data, task, architecture;
  std::int64_t samples = 0;
  std::vector<std::string> audit;  // words of the command line
  std::vector<std::int64_t> seeds;
  std::vector<ComparedSetting> settings;
  Json document;  // as it was read
};

// Throws UsageError that names the file, the field, and what would be right: unknown and missing fields, unknown
// defences and options, two settings of one name.
CompareSpec read_spec(const std::filesystem::path& path);
CompareSpec spec_from_json(const Json& document, const std::string& file);

}  // namespace afterimage
