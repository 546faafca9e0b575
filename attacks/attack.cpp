#include "attacks/attack.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attacks/finite_width.h"
#include "attacks/flow.h"
#include "attacks/infinite_width.h"
#include "attacks/kkt.h"
#include "attacks/loss.h"
#include "attacks/reference_models.h"
#include "attacks/span.h"
#include "attacks/tangent_membership.h"
#include "attacks/vertices.h"
#include "models/foundations/error.h"
#include "models/foundations/text.h"

namespace afterimage {

Reconstruction not_begun() {
  Reconstruction result;
  result.status = Status::inconclusive;
  result.reason = out_of_time_text;
  return result;
}

Reconstruction not_applicable(std::string reason) {
  Reconstruction result;
  result.status = Status::not_applicable;
  result.reason = std::move(reason);
  return result;
}

const std::vector<Attack>& all_attacks() {
  static const std::vector<Attack> attacks = {
      span_attack(),
      loss_attack(),
      lira_attack(),
      rmia_attack(),
      tangent_background_attack(),
      tangent_membership_attack(),
      vertices_attack(),
      finite_width_attack(),
      flow_attack(),
      kkt_attack(),
      infinite_width_attack(),
  };
  return attacks;
}

const Attack& attack_named(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& attack : all_attacks()) {
    if (attack.name == name) return attack;
    names.push_back(attack.name);
  }
  throw UsageError(fmt::format("attack \"{}\": unknown; this version has {}", printable(name), fmt::join(names, ", ")));
}

}  // namespace afterimage
