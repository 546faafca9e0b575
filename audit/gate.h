// A policy applied to a report, for a CI gate.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "reports/report.h"

namespace afterimage {

struct Limits {
  std::optional<double> max_reconstructed_rate, max_membership_tpr_at_1pct_fpr, max_membership_advantage,
      max_epsilon_lower_bound;
};

struct Policy {
  Limits everywhere;                      // for all attacks; the worst finding counts
  std::map<std::string, Limits> attacks;  // by attack; replaces the limit above for it
  std::vector<std::string> require_attacks;
  std::optional<std::int64_t> minimum_control_samples;
  Verdict on_inconclusive = Verdict::fail;
  bool hold_against_upper = false;  // limits are held against the upper end of the 95 % interval
  std::map<std::string, std::string> reasons;
  Json text;  // as read
};

// Throws UsageError: an unknown key, a value out of range, a reason for a rule that the policy does not have, or a
// policy in which no rule can fail.
Policy read_policy(const Json& document, const std::string& name);
Policy read_policy_file(const std::string& path);

// One result for each rule. A measured value above its limit fails. A rule is inconclusive where there is no value,
// where the attack has no result, or where the set is too small to tell the limit from zero: nothing was found, but one
// image would already exceed the limit, or the upper end of the interval of so few images does. A bound on epsilon is
// also inconclusive where so few records could show none above the limit.
Gate apply(const Policy& policy, const Report& report);
Verdict verdict_of(const Policy& policy, const Gate& gate);

}  // namespace afterimage
