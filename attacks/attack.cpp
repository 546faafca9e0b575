#include "attacks/attack.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attacks/finite_width.h"
#include "attacks/flow.h"
#include "attacks/infinite_width.h"
#include "attacks/kkt.h"
#include "attacks/span.h"
#include "attacks/vertices.h"
#include "models/foundations/error.h"
#include "models/foundations/text.h"

namespace afterimage {

Reconstruction not_applicable(std::string reason) {
  Reconstruction result;
  result.status = Status::not_applicable;
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
  throw UsageError(fmt::format("attack \"{}\": unknown; this version has {}", printable(name), fmt::join(names, ", ")));
}

}  // namespace afterimage
