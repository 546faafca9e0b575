// Options of defences as users type them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "defenses/defense.h"

namespace afterimage {

// Throws UsageError on an unknown defence or option, or a wrong value. `typed` is what a user writes before an option's
// name.
const Defense& checked_defense(const std::string& name, const std::map<std::string, std::string>& options,
                               const std::string& typed = "--defense-option ");

// From words NAME=VALUE. Throws UsageError.
std::map<std::string, std::string> named_values(const std::vector<std::string>& words);

}  // namespace afterimage
