// Options of defences as users type them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "defenses/defense.h"

namespace afterimage {

// A defence with the settings that it is to run with.
struct ChosenDefense {
  const Defense& defense;
  ConfiguredDefense configured;
};

// Throws UsageError on an unknown defence, an unknown option of it or a wrong value. `typed` is what a user writes
// before an option's name.
ChosenDefense choose_defense(const std::string& name, const std::map<std::string, std::string>& options,
                             const std::string& typed = "--defense-option ");

// From words NAME=VALUE. Throws UsageError.
std::map<std::string, std::string> named_values(const std::vector<std::string>& words);

}  // namespace afterimage
