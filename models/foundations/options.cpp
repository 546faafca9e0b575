#include "models/foundations/options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <sstream>

#include "models/foundations/error.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
  return parts;
}

std::optional<double> finite_number(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !std::isfinite(value)) return std::nullopt;
  return value;
}

double parse_number(const std::string& name, const std::string& text, double low, double high) {
  const auto value = finite_number(text);
  if (!value || *value < low || *value > high) {
    throw UsageError(fmt::format("--{} {}: has to be a number from {} to {}", name, printable(text), low, high));
  }
  return *value;
}

constexpr const char *text_type = "TEXT", *integer_type = "INTEGER", *number_type = "NUMBER", *list_type = "NUMBER,...";

bool fits(const std::string& type, const std::string& text) {
  const auto value = finite_number(text);
  if (type == text_type) return true;
  if (type == integer_type) return value && *value == std::floor(*value);
  if (type == number_type) return value.has_value();
  if (type != list_type) return type == text;
  const auto items = split(text, ',');
  return !items.empty() &&
         std::all_of(items.begin(), items.end(), [](const auto& item) { return finite_number(item).has_value(); });
}

std::string in_words(const std::string& type) {
  if (type == integer_type) return "a whole number";
  if (type == number_type) return "a number";
  return type == list_type ? "numbers with commas between them" : type;
}

}  // namespace

bool has_option(const std::vector<OptionSpec>& specs, const std::string& name) {
  return std::any_of(specs.begin(), specs.end(), [&](const auto& spec) { return spec.name == name; });
}

std::string type_fault(const std::string& type, const std::string& text) {
  std::vector<std::string> words;
  for (const auto& alternative : split(type, '|')) {
    if (fits(alternative, text)) return "";
    words.push_back(in_words(alternative));
  }
  const std::string last = words.back();
  words.pop_back();
  return fmt::format("{} has to be {}{}{}", printable(text), fmt::join(words, ", "), words.empty() ? "" : " or ", last);
}

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
  for (const auto& item : split(text(name), ',')) values.push_back(parse_number(name, item, low, high));
  if (values.empty()) throw UsageError(fmt::format("--{}: has to be numbers with commas between them", name));
  return values;
}

}  // namespace afterimage
