// Options that attacks and defences declare in one place, as the command line and a comparison's spec give them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace afterimage {

struct OptionSpec {
  std::string name;         // of the command line, without dashes
  std::string description;  // with units
  std::string fallback;     // the default, as it would be typed
};

// The options of one run, by name, as typed. Getters throw UsageError naming the option, its value and what would be
// right.
class OptionValues {
 public:
  OptionValues() = default;
  OptionValues(const std::vector<OptionSpec>& specs, const std::map<std::string, std::string>& given);

  const std::string& text(const std::string& name) const { return values_.at(name); }
  std::string one_of(const std::string& name, const std::vector<std::string>& choices) const;
  std::int64_t whole(const std::string& name, std::int64_t low, std::int64_t high) const;
  double number(const std::string& name, double low, double high) const;
  std::vector<double> numbers(const std::string& name, double low, double high) const;  // separated by commas

 private:
  std::map<std::string, std::string> values_;
};

}  // namespace afterimage
