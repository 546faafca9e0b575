#include "audit/gate.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "attacks/attack.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/json_reader.h"
#include "models/foundations/text.h"
#include "reports/wording.h"

namespace afterimage {
namespace {

constexpr std::uint64_t largest_policy = 1 << 20;
constexpr const char* policy_schema = "afterimage.policy/1";
constexpr const char* reconstructed_limit = "max_reconstructed_rate";
constexpr const char* membership_limit = "max_membership_tpr_at_1pct_fpr";
constexpr const char* required_attacks = "require_attacks";
constexpr const char* least_control = "minimum_control_samples";

const json::Names<Verdict> on_inconclusive_choices = {
    {Verdict::fail, "fail"}, {Verdict::pass, "pass"}, {Verdict::inconclusive, "inconclusive"}};
const json::Names<bool> hold_against_choices = {{false, "rate"}, {true, "upper"}};

std::optional<double> read_limit(const json::Reader& in, const char* key) {
  const auto limit = in.find(key);
  return limit ? std::optional(limit->fraction()) : std::nullopt;
}

Limits read_limits(const json::Reader& in) {
  return {read_limit(in, reconstructed_limit), read_limit(in, membership_limit)};
}

std::vector<std::string> read_required_attacks(const json::Reader& in) {
  std::vector<std::string> attacks;
  for (const auto& item : in.list()) {
    const std::string attack = item.text();
    if (std::count(attacks.begin(), attacks.end(), attack) > 0) {
      in.fail(fmt::format("names {} twice; name each attack once", printable(attack)));
    }
    attacks.push_back(attack);
  }
  return attacks;
}

// A limit of 1 is never exceeded.
bool can_fail(const Limits& limits) {
  return (limits.max_reconstructed_rate && *limits.max_reconstructed_rate < 1) ||
         (limits.max_membership_tpr_at_1pct_fpr && *limits.max_membership_tpr_at_1pct_fpr < 1);
}

bool can_fail(const Policy& policy) {
  if (policy.on_inconclusive == Verdict::fail &&
      (!policy.require_attacks.empty() || policy.minimum_control_samples.value_or(0) > 0))
    return true;
  if (can_fail(policy.everywhere)) return true;
  return std::any_of(policy.attacks.begin(), policy.attacks.end(),
                     [](const auto& entry) { return can_fail(entry.second); });
}

// A reason for "require_attacks" explains the rule of every required attack.
bool explains(const std::string& reason, const std::string& rule) {
  return reason == rule || (reason == required_attacks && rule.starts_with(reason + "."));
}

struct Measured {
  Number value;
  std::int64_t of = 0;      // images that it is a rate of
  std::int64_t count = -1;  // of these images; -1 where the value is not a count
  std::string missing;      // why there is no value
  bool has_control = true;  // whether the value of chance is known
};

Measured reconstructed_rate(const Finding& finding, bool upper) {
  if (!finding.reconstructed) return {std::nullopt, 0, -1, finding.attack + " reconstructs no images"};
  const Rate& rate = *finding.reconstructed;
  return {upper ? rate.ci95_high : rate.rate, rate.of, rate.count, "", finding.control.has_value()};
}

Measured membership_rate(const Finding& finding, std::int64_t members, bool upper) {
  if (!finding.membership) return {std::nullopt, 0, -1, finding.attack + " gives no membership scores"};
  if (!finding.membership->tpr_at_fpr_0_01) {
    return {std::nullopt, 0, -1, "the control set is too small to resolve a false-positive rate of 1 %"};
  }
  const double rate = *finding.membership->tpr_at_fpr_0_01;
  if (members < 1) return {rate, 0, -1, ""};
  const auto told = std::clamp<std::int64_t>(std::llround(rate * static_cast<double>(members)), 0, members);
  return {upper ? rate_of(told, members).ci95_high : rate, members, told, ""};
}

RuleResult judge(const std::string& rule, const Finding& finding, const Measured& measured, double limit, bool upper) {
  RuleResult result{rule, measured.value, limit, Outcome::pass, ""};
  if (upper && measured.count == 0 && *measured.value > limit) {
    result.outcome = Outcome::inconclusive;
    result.reason =
        fmt::format("{}: none of {} images, but with so few images the rate may still be {}, above the limit of {}",
                    finding.attack, measured.of, percent(*measured.value), percent(limit));
  } else if (measured.value && *measured.value > limit) {
    result.outcome = Outcome::fail;
    result.reason = fmt::format("{} reaches {}{}, above the limit of {}", finding.attack, percent(*measured.value),
                                upper ? " (upper end of the interval)" : "", percent(limit));
  } else if (finding.status != Status::ok) {
    result.outcome = Outcome::inconclusive;
    result.reason = fmt::format("{} is {}: {}", finding.attack, name_of(finding.status), finding.reason);
  } else if (!measured.value) {
    result.outcome = Outcome::inconclusive;
    result.reason = measured.missing;
  } else if (!measured.has_control) {
    result.outcome = Outcome::inconclusive;
    result.reason = finding.attack + " was not compared with control images, so its count may be chance";
  } else if (measured.count == 0 && limit > 0 && limit * static_cast<double>(measured.of) < 1) {
    result.outcome = Outcome::inconclusive;
    result.reason =
        fmt::format("with {} images a rate at the limit of {} cannot be told from zero", measured.of, percent(limit));
  } else {
    result.reason =
        fmt::format("{} stays at {}, within the limit of {}", finding.attack, percent(*measured.value), percent(limit));
  }
  return result;
}

// The worst of several results: a failure before an inconclusive one before a pass, then the largest measured value.
RuleResult worst(const std::vector<RuleResult>& results) {
  const auto rank = [](const RuleResult& r) {
    const int severity = r.outcome == Outcome::fail ? 2 : r.outcome == Outcome::inconclusive ? 1 : 0;
    return std::pair(severity, r.measured.value_or(-1));
  };
  return *std::max_element(results.begin(), results.end(),
                           [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
}

const Finding* find_attack(const Report& report, const std::string& name) {
  for (const auto& finding : report.findings) {
    if (finding.attack == name) return &finding;
  }
  return nullptr;
}

class Judge {
 public:
  Judge(const Policy& policy, const Report& report) : policy_(policy), report_(report) {}

  Gate run() {
    everywhere(
        reconstructed_limit, policy_.everywhere.max_reconstructed_rate,
        [](const Limits& limits) { return limits.max_reconstructed_rate.has_value(); },
        [&](const Finding& f) { return reconstructed_rate(f, policy_.hold_against_upper); });
    everywhere(
        membership_limit, policy_.everywhere.max_membership_tpr_at_1pct_fpr,
        [](const Limits& limits) { return limits.max_membership_tpr_at_1pct_fpr.has_value(); },
        [&](const Finding& f) { return membership(f); });
    for (const auto& [attack, limits] : policy_.attacks) {
      one(attack, reconstructed_limit, limits.max_reconstructed_rate,
          [&](const Finding& f) { return reconstructed_rate(f, policy_.hold_against_upper); });
      one(attack, membership_limit, limits.max_membership_tpr_at_1pct_fpr,
          [&](const Finding& f) { return membership(f); });
    }
    for (const auto& attack : policy_.require_attacks) required(attack);
    if (policy_.minimum_control_samples) control_size(*policy_.minimum_control_samples);
    for (auto& rule : gate_.rules) {
      for (const auto& [explained, why] : policy_.reasons) {
        if (explains(explained, rule.rule)) rule.reason += fmt::format(" (policy: {})", why);
      }
    }
    return gate_;
  }

 private:
  Measured membership(const Finding& finding) const {
    return membership_rate(finding, report_.data.samples, policy_.hold_against_upper);
  }

  // The limit for all attacks without one of their own. An attack that has a result but cannot measure the value (it
  // reconstructs no images), or that does not apply, is left out where another attack has a value. One that is
  // inconclusive or failed might have measured it, and counts.
  template <class HasOwn, class Measure>
  void everywhere(const char* rule, std::optional<double> limit, HasOwn has_own, Measure measure) {
    if (!limit) return;
    std::vector<RuleResult> results, without_value;
    for (const auto& finding : report_.findings) {
      const auto own = policy_.attacks.find(finding.attack);
      if (own != policy_.attacks.end() && has_own(own->second)) continue;
      const Measured measured = measure(finding);
      const bool no_result = finding.status == Status::inconclusive || finding.status == Status::failed;
      auto& list = measured.value || no_result ? results : without_value;
      list.push_back(judge(rule, finding, measured, *limit, policy_.hold_against_upper));
    }
    if (results.empty()) results = std::move(without_value);
    if (results.empty())
      results.push_back(
          {rule, std::nullopt, limit, Outcome::inconclusive, "no attack was run that this limit applies to"});
    gate_.rules.push_back(worst(results));
  }

  template <class Measure>
  void one(const std::string& attack, const char* limit_name, std::optional<double> limit, Measure measure) {
    if (!limit) return;
    const std::string rule = attack + "." + limit_name;
    const Finding* finding = find_attack(report_, attack);
    if (finding == nullptr) {
      gate_.rules.push_back({rule, std::nullopt, limit, Outcome::inconclusive, attack + " was not run"});
    } else {
      gate_.rules.push_back(judge(rule, *finding, measure(*finding), *limit, policy_.hold_against_upper));
    }
  }

  void required(const std::string& attack) {
    const Finding* finding = find_attack(report_, attack);
    RuleResult result{fmt::format("{}.{}", required_attacks, attack), std::nullopt, std::nullopt, Outcome::pass,
                      attack + " has a result"};
    if (finding == nullptr) {
      result.outcome = Outcome::inconclusive;
      result.reason = attack + " was not run";
    } else if (finding->status != Status::ok) {
      result.outcome = Outcome::inconclusive;
      result.reason = fmt::format("{} is {}: {}", attack, name_of(finding->status), finding->reason);
    }
    gate_.rules.push_back(result);
  }

  void control_size(std::int64_t minimum) {
    const auto count = report_.data.control_samples;
    gate_.rules.push_back({least_control, static_cast<double>(count), static_cast<double>(minimum),
                           count < minimum ? Outcome::inconclusive : Outcome::pass,
                           fmt::format("{} control images, at least {} are required", count, minimum)});
  }

  const Policy& policy_;
  const Report& report_;
  Gate gate_{policy_.text, {}};
};

// A limit for an attack that does not exist would never be checked.
void require_attack(const std::string& name, const std::string& where) {
  try {
    attack_named(name);
  } catch (const UsageError& error) {
    throw UsageError(fmt::format("{}: {}", where, error.what()));
  }
}

std::vector<std::string> rules_of(const Policy& policy) {
  std::vector<std::string> rules;
  const auto add = [&](const Limits& limits, const std::string& prefix) {
    if (limits.max_reconstructed_rate) rules.push_back(prefix + reconstructed_limit);
    if (limits.max_membership_tpr_at_1pct_fpr) rules.push_back(prefix + membership_limit);
  };
  add(policy.everywhere, "");
  for (const auto& [attack, limits] : policy.attacks) add(limits, attack + ".");
  for (const auto& attack : policy.require_attacks) rules.push_back(fmt::format("{}.{}", required_attacks, attack));
  if (policy.minimum_control_samples) rules.emplace_back(least_control);
  return rules;
}

std::map<std::string, std::string> read_reasons(const json::Reader& in, const Policy& policy) {
  const std::vector<std::string> rules = rules_of(policy);
  std::map<std::string, std::string> reasons;
  for (const auto& [rule, why] : in.items()) {
    const auto is_explained = [&, reason = rule](const std::string& known) { return explains(reason, known); };
    if (std::none_of(rules.begin(), rules.end(), is_explained)) {
      why.fail(fmt::format("explains no rule of this policy; its rules are {}",
                           printable(fmt::format("{}", fmt::join(rules, ", ")))));
    }
    reasons[rule] = why.text();
  }
  return reasons;
}

// Throws InputError.
Policy policy_in(const json::Reader& in) {
  constexpr std::int64_t most_control_samples = 1'000'000'000;
  in.require_keys_among({"schema", reconstructed_limit, membership_limit, "attacks", required_attacks, least_control,
                         "on_inconclusive", "hold_against", "reasons"});
  if (in["schema"].raw() != policy_schema) in["schema"].fail(fmt::format("has to be \"{}\"", policy_schema));
  Policy policy;
  policy.text = in.raw();
  policy.everywhere = read_limits(in);
  if (const auto attacks = in.find("attacks")) {
    for (const auto& [attack, limits] : attacks->items()) {
      limits.require_keys_among({reconstructed_limit, membership_limit});
      policy.attacks[attack] = read_limits(limits);
    }
  }
  if (const auto required = in.find(required_attacks)) policy.require_attacks = read_required_attacks(*required);
  if (const auto minimum = in.find(least_control)) {
    policy.minimum_control_samples = minimum->whole(0, most_control_samples);
  }
  if (const auto choice = in.find("on_inconclusive")) policy.on_inconclusive = choice->one_of(on_inconclusive_choices);
  if (const auto choice = in.find("hold_against")) policy.hold_against_upper = choice->one_of(hold_against_choices);
  if (const auto reasons = in.find("reasons")) policy.reasons = read_reasons(*reasons, policy);
  if (!can_fail(policy)) in.fail("has no rule that can fail; give a limit below 1, or require an attack");
  return policy;
}

}  // namespace

Policy read_policy(const Json& document, const std::string& name) {
  return input_as_usage([&] { return policy_in(json::Reader(document, name, "the policy")); });
}

Policy read_policy_file(const std::string& path) {
  Policy policy = input_as_usage([&] {
    const Json document = parse_json(read_file(path, largest_policy), path);
    return policy_in(json::Reader(document, path, "the policy"));
  });
  for (const auto& [attack, limits] : policy.attacks) require_attack(attack, path + ": attacks");
  for (const auto& attack : policy.require_attacks) require_attack(attack, path + ": require_attacks");
  return policy;
}

Gate apply(const Policy& policy, const Report& report) {
  Gate gate = Judge(policy, report).run();
  for (auto& rule : gate.rules) rule.reason = worded(report.data, std::move(rule.reason));
  return gate;
}

Verdict verdict_of(const Policy& policy, const Gate& gate) {
  const auto any = [&](Outcome outcome) {
    return std::any_of(gate.rules.begin(), gate.rules.end(), [&](const auto& rule) { return rule.outcome == outcome; });
  };
  if (any(Outcome::fail)) return Verdict::fail;
  return any(Outcome::inconclusive) ? policy.on_inconclusive : Verdict::pass;
}

}  // namespace afterimage
