// A policy applied to a report: what a CI gate acts on.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "reports/report.h"

namespace afterimage {

struct Limits {
  std::optional<double> max_reconstructed_rate, max_membership_tpr_at_1pct_fpr;
};

struct Policy {
  Limits everywhere;                      // the worst finding counts
  std::map<std::string, Limits> attacks;  // by attack; replaces the limit above for it
  std::vector<std::string> require_attacks;
  std::optional<std::int64_t> minimum_control_samples;
  Verdict on_inconclusive = Verdict::fail;
  bool hold_against_upper = false;  // limits are held against the upper end of the 95 % interval
  std::map<std::string, std::string> reasons;
  Json text;  // as read
};

// Throws UsageError in one line: an unknown key, a value out of range, a reason for a rule that is not there, or a
// policy in which nothing can fail.
Policy read_policy(const Json& document, const std::string& name);
Policy read_policy_file(const std::string& path);

// One result a rule. A measured value above its limit fails. It is inconclusive when there is none, when the attack did
// not come to a result, or when the set is too small to tell the limit from zero: nothing was found, but one image more
// would already break the limit, or (held against the upper end) so few images leave room for a rate above it.
Gate apply(const Policy& policy, const Report& report);
Verdict verdict_of(const Policy& policy, const Gate& gate);

}  // namespace afterimage
