#include "models/foundations/options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <sstream>

#include "models/foundations/error.h"

namespace afterimage {
namespace {

double parse_number(const std::string& name, const std::string& text, double low, double high) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !std::isfinite(value) || value < low || value > high) {
    throw UsageError(fmt::format("--{} {}: has to be a number from {} to {}", name, text, low, high));
  }
  return value;
}

}  // namespace

OptionValues::OptionValues(const std::vector<OptionSpec>& specs, const std::map<std::string, std::string>& given) {
  for (const auto& spec : specs) {
    const auto found = given.find(spec.name);
    values_[spec.name] = found == given.end() ? spec.fallback : found->second;
  }
}

std::string OptionValues::one_of(const std::string& name, const std::vector<std::string>& choices) const {
  if (std::find(choices.begin(), choices.end(), text(name)) == choices.end()) {
    throw UsageError(fmt::format("--{} {}: has to be one of {}", name, text(name), fmt::join(choices, ", ")));
  }
  return text(name);
}

std::int64_t OptionValues::whole(const std::string& name, std::int64_t low, std::int64_t high) const {
  const double value = parse_number(name, text(name), static_cast<double>(low), static_cast<double>(high));
  if (value != std::floor(value)) throw UsageError(fmt::format("--{} {}: has to be a whole number", name, text(name)));
  return static_cast<std::int64_t>(value);
}

double OptionValues::number(const std::string& name, double low, double high) const {
  return parse_number(name, text(name), low, high);
}

std::vector<double> OptionValues::numbers(const std::string& name, double low, double high) const {
  std::vector<double> values;
  std::istringstream list(text(name));
  for (std::string item; std::getline(list, item, ',');) values.push_back(parse_number(name, item, low, high));
  if (values.empty()) throw UsageError(fmt::format("--{}: has to be numbers with commas between them", name));
  return values;
}

}  // namespace afterimage
