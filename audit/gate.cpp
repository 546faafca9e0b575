#include "audit/gate.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
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
constexpr const char* required_attacks = "require_attacks";
constexpr const char* least_control = "minimum_control_samples";

const json::Names<Verdict> on_inconclusive_choices = {
    {Verdict::fail, "fail"}, {Verdict::pass, "pass"}, {Verdict::inconclusive, "inconclusive"}};
const json::Names<bool> hold_against_choices = {{false, "rate"}, {true, "upper"}};

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

struct Measured {
  Number value;
  std::int64_t of = 0;      // images that it is a rate of
  std::int64_t count = -1;  // of these images; -1 where the value is not a count
  std::string missing;      // why there is no value
  bool has_control = true;  // whether the value of chance is known
  Number most = {};         // the largest value that could have been measured, where not all limits are below
};

Measured reconstructed_rate(const Finding& finding, std::int64_t, bool upper) {
  if (!finding.reconstructed) return {std::nullopt, 0, -1, finding.attack + " reconstructs no images"};
  const Rate& rate = *finding.reconstructed;
  return {upper ? rate.ci95_high : rate.rate, rate.of, rate.count, "", finding.control.has_value()};
}

Measured without_membership(const Finding& finding) {
  return {std::nullopt, 0, -1, finding.attack + " gives no membership scores"};
}

Measured membership_rate(const Finding& finding, std::int64_t members, bool upper) {
  if (!finding.membership) return without_membership(finding);
  if (!finding.membership->tpr_at_fpr_0_01) {
    return {std::nullopt, 0, -1, "the control set is too small to resolve a false-positive rate of 1 %"};
  }
  const double rate = *finding.membership->tpr_at_fpr_0_01;
  if (members < 1) return {rate, 0, -1, ""};
  const auto told = std::clamp<std::int64_t>(std::llround(rate * static_cast<double>(members)), 0, members);
  return {upper ? rate_of(told, members).ci95_high : rate, members, told, ""};
}

Measured membership_advantage(const Finding& finding, std::int64_t, bool) {
  if (!finding.membership) return without_membership(finding);
  return {finding.membership->advantage, 0, -1, ""};
}

Measured epsilon_bound(const Finding& finding, std::int64_t, bool) {
  if (!finding.membership) return without_membership(finding);
  const auto& bound = finding.membership->epsilon_lower_bound;
  if (!bound)
    return {
        std::nullopt, 0, -1,
        "the report has no bound on epsilon: it takes 4 training and control images, with classes as frequent in both"};
  Measured measured{bound->value, 0, -1, ""};
  measured.most = bound->ceiling;
  return measured;
}

std::string plain_number(double value) { return fmt::format("{:.4g}", value); }

// A limit of a policy, for all attacks or for one.
struct LimitKind {
  const char* name;
  std::optional<double> Limits::*limit;
  Measured (*measure)(const Finding&, std::int64_t members, bool upper);
  std::string (*text)(double);
  bool is_fraction;  // a limit of 1 is then never exceeded
};
const std::array<LimitKind, 4> limit_kinds = {{
    {"max_reconstructed_rate", &Limits::max_reconstructed_rate, reconstructed_rate, percent, true},
    {"max_membership_tpr_at_1pct_fpr", &Limits::max_membership_tpr_at_1pct_fpr, membership_rate, percent, true},
    {"max_membership_advantage", &Limits::max_membership_advantage, membership_advantage, percent, true},
    {"max_epsilon_lower_bound", &Limits::max_epsilon_lower_bound, epsilon_bound, plain_number, false},
}};

Limits read_limits(const json::Reader& in) {
  Limits limits;
  for (const auto& kind : limit_kinds) {
    const auto limit = in.find(kind.name);
    if (!limit) continue;
    limits.*kind.limit = kind.is_fraction ? limit->fraction() : limit->real();
    if (*(limits.*kind.limit) < 0) limit->fail("has to be at least 0");
  }
  return limits;
}

bool can_fail(const Limits& limits) {
  return std::any_of(limit_kinds.begin(), limit_kinds.end(), [&](const LimitKind& kind) {
    const auto& limit = limits.*kind.limit;
    return limit && (!kind.is_fraction || *limit < 1);
  });
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

RuleResult judge(const LimitKind& kind, const std::string& rule, const Finding& finding, const Measured& measured,
                 double limit, bool upper) {
  RuleResult result{rule, measured.value, limit, Outcome::pass, ""};
  if (upper && measured.count == 0 && *measured.value > limit) {
    result.outcome = Outcome::inconclusive;
    result.reason =
        fmt::format("{}: none of {} images, but with so few images the rate may still be {}, above the limit of {}",
                    finding.attack, measured.of, kind.text(*measured.value), kind.text(limit));
  } else if (measured.value && *measured.value > limit) {
    result.outcome = Outcome::fail;
    result.reason = fmt::format("{} reaches {}{}, above the limit of {}", finding.attack, kind.text(*measured.value),
                                upper && measured.of > 0 ? " (upper end of the interval)" : "", kind.text(limit));
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
        fmt::format("with {} images a rate at the limit of {} cannot be told from zero", measured.of, kind.text(limit));
  } else if (measured.most && *measured.most <= limit) {
    result.outcome = Outcome::inconclusive;
    result.reason = fmt::format("so few records can show {} at most, so that a limit of {} would never be exceeded",
                                kind.text(*measured.most), kind.text(limit));
  } else {
    result.reason = fmt::format("{} stays at {}, within the limit of {}", finding.attack, kind.text(*measured.value),
                                kind.text(limit));
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
    for (const auto& kind : limit_kinds) everywhere(kind);
    for (const auto& [attack, limits] : policy_.attacks) {
      for (const auto& kind : limit_kinds) one(kind, attack, limits.*kind.limit);
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
  RuleResult judged(const LimitKind& kind, const std::string& rule, const Finding& finding, double limit) const {
    const bool upper = policy_.hold_against_upper;
    return judge(kind, rule, finding, kind.measure(finding, report_.data.samples, upper), limit, upper);
  }

  // The limit for all attacks without one of their own. An attack that has a result but cannot measure the value (it
  // reconstructs no images), or that does not apply, is left out where another attack has a value. One that is
  // inconclusive or failed might have measured it, and counts.
  void everywhere(const LimitKind& kind) {
    const auto& limit = policy_.everywhere.*kind.limit;
    if (!limit) return;
    std::vector<RuleResult> results, without_value;
    for (const auto& finding : report_.findings) {
      const auto own = policy_.attacks.find(finding.attack);
      if (own != policy_.attacks.end() && own->second.*kind.limit) continue;
      RuleResult result = judged(kind, kind.name, finding, *limit);
      const bool no_result = finding.status == Status::inconclusive || finding.status == Status::failed;
      (result.measured || no_result ? results : without_value).push_back(std::move(result));
    }
    if (results.empty()) results = std::move(without_value);
    if (results.empty())
      results.push_back(
          {kind.name, std::nullopt, limit, Outcome::inconclusive, "no attack was run that this limit applies to"});
    gate_.rules.push_back(worst(results));
  }

  void one(const LimitKind& kind, const std::string& attack, const std::optional<double>& limit) {
    if (!limit) return;
    const std::string rule = attack + "." + kind.name;
    const Finding* finding = find_attack(report_, attack);
    gate_.rules.push_back(finding == nullptr
                              ? RuleResult{rule, std::nullopt, limit, Outcome::inconclusive, attack + " was not run"}
                              : judged(kind, rule, *finding, *limit));
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
    for (const auto& kind : limit_kinds) {
      if (limits.*kind.limit) rules.push_back(prefix + kind.name);
    }
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

// With the names of all limits.
std::vector<const char*> with_limits(std::vector<const char*> keys) {
  for (const auto& kind : limit_kinds) keys.push_back(kind.name);
  return keys;
}

// Throws InputError.
Policy policy_in(const json::Reader& in) {
  constexpr std::int64_t most_control_samples = 1'000'000'000;
  in.require_keys_among(with_limits(
      {"schema", "attacks", required_attacks, least_control, "on_inconclusive", "hold_against", "reasons"}));
  if (in["schema"].raw() != policy_schema) in["schema"].fail(fmt::format("has to be \"{}\"", policy_schema));
  Policy policy;
  policy.text = in.raw();
  policy.everywhere = read_limits(in);
  if (const auto attacks = in.find("attacks")) {
    for (const auto& [attack, limits] : attacks->items()) {
      limits.require_keys_among(with_limits({}));
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
