// Options that attacks and defences declare in one place, for the command line and a comparison's spec alike.
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
  // What a value may be, as the help shows it: INTEGER, NUMBER, "NUMBER,..." (a list), TEXT, or a word that is typed as
  // it is; alternatives with | between them, as in "NUMBER|auto".
  std::string type = "TEXT";
};

bool has_option(const std::vector<OptionSpec>& specs, const std::string& name);

// Why `text` is no value of `type`, as in "x has to be a number or auto"; empty where it is one. Ranges are checked by
// the getters of OptionValues.
std::string type_fault(const std::string& type, const std::string& text);

// The options of one run, by name, as typed. Getters throw UsageError that names the option, its value and what would
// be right.
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
