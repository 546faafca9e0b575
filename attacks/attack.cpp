#include "attacks/attack.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <sstream>

#include "attacks/finite_width.h"
#include "attacks/flow.h"
#include "attacks/infinite_width.h"
#include "attacks/kkt.h"
#include "attacks/span.h"
#include "attacks/vertices.h"
#include "models/base/error.h"

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

AttackOptions::AttackOptions(const std::vector<OptionSpec>& specs, const std::map<std::string, std::string>& given) {
  for (const auto& spec : specs) {
    const auto found = given.find(spec.name);
    values_[spec.name] = found == given.end() ? spec.fallback : found->second;
  }
}

std::string AttackOptions::one_of(const std::string& name, const std::vector<std::string>& choices) const {
  if (std::find(choices.begin(), choices.end(), text(name)) == choices.end()) {
    throw UsageError(fmt::format("--{} {}: has to be one of {}", name, text(name), fmt::join(choices, ", ")));
  }
  return text(name);
}

std::int64_t AttackOptions::whole(const std::string& name, std::int64_t low, std::int64_t high) const {
  const double value = parse_number(name, text(name), static_cast<double>(low), static_cast<double>(high));
  if (value != std::floor(value)) throw UsageError(fmt::format("--{} {}: has to be a whole number", name, text(name)));
  return static_cast<std::int64_t>(value);
}

double AttackOptions::number(const std::string& name, double low, double high) const {
  return parse_number(name, text(name), low, high);
}

std::vector<double> AttackOptions::numbers(const std::string& name, double low, double high) const {
  std::vector<double> values;
  std::istringstream list(text(name));
  for (std::string item; std::getline(list, item, ',');) values.push_back(parse_number(name, item, low, high));
  if (values.empty()) throw UsageError(fmt::format("--{}: has to be numbers with commas between them", name));
  return values;
}

bool Subject::some_still() const {
  for (std::size_t i = 0; i < initial.size(); ++i) {
    if (at::equal(initial[i], trained[i])) return true;
  }
  return false;
}

Reconstruction not_applicable(std::string reason) {
  Reconstruction result;
  result.conclusion = Conclusion::not_applicable;
  result.reason = std::move(reason);
  return result;
}

const std::vector<std::unique_ptr<Attack>>& all_attacks() {
  static const auto attacks = [] {
    std::vector<std::unique_ptr<Attack>> list;
    list.push_back(std::make_unique<Span>());
    list.push_back(std::make_unique<Vertices>());
    list.push_back(std::make_unique<FiniteWidth>());
    list.push_back(std::make_unique<Flow>());
    list.push_back(std::make_unique<Kkt>());
    list.push_back(std::make_unique<InfiniteWidth>());
    return list;
  }();
  return attacks;
}

const Attack& attack_named(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& attack : all_attacks()) {
    if (attack->name() == name) return *attack;
    names.push_back(attack->name());
  }
  throw UsageError(fmt::format("attack \"{}\": unknown; this version has {}", name, fmt::join(names, ", ")));
}

}  // namespace afterimage
