// Options of defences as users type them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "defenses/defense.h"

namespace afterimage {

// Throws UsageError on a defence, an option of it or a value that there is not. `typed` is what a user writes before an
// option's name.
const Defense& checked_defense(const std::string& name, const std::map<std::string, std::string>& options,
                               const std::string& typed = "--defense-option ");

// NAME=VALUE, as often as there are. Throws UsageError.
std::map<std::string, std::string> named_values(const std::vector<std::string>& words);

}  // namespace afterimage
