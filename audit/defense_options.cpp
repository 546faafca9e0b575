#include "audit/defense_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "models/foundations/error.h"
#include "models/foundations/text.h"

namespace afterimage {

ChosenDefense choose_defense(const std::string& name, const std::map<std::string, std::string>& options,
                             const std::string& typed) {
  const Defense& defense = defense_named(name);
  const auto& specs = defense.options;
  for (const auto& [option, value] : options) {
    if (has_option(specs, option)) continue;
    std::vector<std::string> names;
    for (const auto& spec : specs) names.push_back(spec.name);
    throw UsageError(fmt::format("{}{}: {} has no such option; {}", typed, printable(option), name,
                                 names.empty() ? "it has none" : fmt::format("there are {}", fmt::join(names, ", "))));
  }
  return {defense, defense.configured(options)};
}

std::map<std::string, std::string> named_values(const std::vector<std::string>& words) {
  std::map<std::string, std::string> values;
  for (const auto& word : words) {
    const auto equals = word.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw UsageError(fmt::format("--defense-option {}: has to be NAME=VALUE, as in per-class=10", printable(word)));
    }
    values[word.substr(0, equals)] = word.substr(equals + 1);
  }
  return values;
}

}  // namespace afterimage
