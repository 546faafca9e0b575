#include "audit/gate.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "attacks/attack.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/json.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

constexpr std::uint64_t largest_policy = 1 << 20;
constexpr const char* policy_schema = "afterimage.policy/1";
constexpr const char* reconstructed_limit = "max_reconstructed_rate";
constexpr const char* membership_limit = "max_membership_tpr_at_1pct_fpr";
constexpr const char* required_attacks = "require_attacks";
constexpr const char* least_control = "minimum_control_samples";

void require_keys(const Json& object, const std::vector<std::string>& known, const std::string& where) {
  if (!object.is_object()) throw UsageError(where + " has to be an object");
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      throw UsageError(
          fmt::format("{} has the unknown key \"{}\"; known are {}", where, printable(key), fmt::join(known, ", ")));
    }
  }
}

std::optional<double> read_limit(const Json& object, const char* key, const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end()) return std::nullopt;
  if (!found->is_number() || !(found->get<double>() >= 0 && found->get<double>() <= 1)) {
    throw UsageError(fmt::format("{}: {} has to be a fraction from 0 to 1", where, key));
  }
  return found->get<double>();
}

Limits read_limits(const Json& object, const std::string& where) {
  return {read_limit(object, reconstructed_limit, where), read_limit(object, membership_limit, where)};
}

std::string read_choice(const Json& document, const char* key, const std::vector<std::string>& choices,
                        const std::string& name) {
  const auto found = document.find(key);
  if (found == document.end()) return choices.front();
  if (!found->is_string() || std::find(choices.begin(), choices.end(), found->get<std::string>()) == choices.end()) {
    throw UsageError(fmt::format("{}: {} has to be one of {}", name, key, fmt::join(choices, ", ")));
  }
  return found->get<std::string>();
}

// A limit of 1 lets everything through.
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

// A reason is given by rule; one for "require_attacks" goes for every attack required.
bool explains(const std::string& reason, const std::string& rule) {
  return reason == rule || (reason == required_attacks && rule.starts_with(reason + "."));
}

std::string percent(double fraction) { return fmt::format("{:.1f} %", 100 * fraction); }

struct Measured {
  Number value;
  std::int64_t of = 0;      // images behind it
  std::int64_t count = -1;  // of those, -1 where the value is no count
  std::string missing;      // why there is no value
  bool has_control = true;  // it says by itself how often chance would come to it
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
    result.reason = fmt::format("{}: none of {} images, but with so few the rate may still be {}, above {}",
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
    result.reason = finding.attack + " was held against no control images: whether its count says anything is unknown";
  } else if (measured.count == 0 && limit > 0 && limit * static_cast<double>(measured.of) < 1) {
    result.outcome = Outcome::inconclusive;
    result.reason = fmt::format("with {} images the limit of {} cannot be told from zero", measured.of, percent(limit));
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

  // The limit for all attacks that have none of their own. An attack that came to a result but cannot measure the value
  // at all (it reconstructs no images), or that does not apply, is left out while another can; one that came to no
  // result might have measured it, and counts.
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
    if (results.empty()) results = without_value;
    if (results.empty())
      results.push_back(
          {rule, std::nullopt, limit, Outcome::inconclusive, "no attack without a limit of its own was run"});
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
                      attack + " came to a result"};
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
                           fmt::format("{} control images, {} asked for", count, minimum)});
  }

  const Policy& policy_;
  const Report& report_;
  Gate gate_{policy_.text, {}};
};

// A limit for an attack that does not exist would never be held.
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

}  // namespace

Policy read_policy(const Json& document, const std::string& name) {
  require_keys(document,
               {"schema", reconstructed_limit, membership_limit, "attacks", required_attacks, least_control,
                "on_inconclusive", "hold_against", "reasons"},
               name + ": the policy");
  if (document.value("schema", Json()) != policy_schema) {
    throw UsageError(fmt::format("{}: schema has to be \"{}\"", name, policy_schema));
  }
  Policy policy;
  policy.text = document;
  policy.everywhere = read_limits(document, name);
  if (const auto attacks = document.find("attacks"); attacks != document.end()) {
    if (!attacks->is_object()) throw UsageError(name + ": attacks has to be an object of limits by attack");
    for (const auto& [attack, limits] : attacks->items()) {
      const std::string where = fmt::format("{}: attacks.{}", name, printable(attack));
      require_keys(limits, {reconstructed_limit, membership_limit}, where);
      policy.attacks[attack] = read_limits(limits, where);
    }
  }
  if (const auto required = document.find(required_attacks); required != document.end()) {
    if (!required->is_array()) throw UsageError(name + ": require_attacks has to be a list of attack names");
    for (const auto& attack : *required) {
      if (!attack.is_string()) throw UsageError(name + ": require_attacks has to be a list of attack names");
      const auto& name_of_attack = attack.get_ref<const std::string&>();
      if (std::count(policy.require_attacks.begin(), policy.require_attacks.end(), name_of_attack) > 0) {
        throw UsageError(
            fmt::format("{}: require_attacks names {} twice; name each once", name, printable(name_of_attack)));
      }
      policy.require_attacks.push_back(name_of_attack);
    }
  }
  if (const auto minimum = document.find(least_control); minimum != document.end()) {
    if (!minimum->is_number_unsigned() || minimum->get<std::uint64_t>() > 1'000'000'000) {
      throw UsageError(name + ": minimum_control_samples has to be a whole number");
    }
    policy.minimum_control_samples = minimum->get<std::int64_t>();
  }
  const auto on_inconclusive = read_choice(document, "on_inconclusive", {"fail", "pass", "inconclusive"}, name);
  policy.on_inconclusive = on_inconclusive == "fail"   ? Verdict::fail
                           : on_inconclusive == "pass" ? Verdict::pass
                                                       : Verdict::inconclusive;
  policy.hold_against_upper = read_choice(document, "hold_against", {"rate", "upper"}, name) == "upper";
  if (const auto reasons = document.find("reasons"); reasons != document.end()) {
    if (!reasons->is_object()) throw UsageError(name + ": reasons has to be an object of texts by rule");
    for (const auto& item : reasons->items()) {
      const std::string& rule = item.key();
      const Json& why = item.value();
      if (!why.is_string()) throw UsageError(fmt::format("{}: reasons.{} has to be a text", name, printable(rule)));
      const auto rules = rules_of(policy);
      if (std::none_of(rules.begin(), rules.end(), [&](const auto& known) { return explains(rule, known); })) {
        throw UsageError(fmt::format("{}: reasons.{} explains no rule of this policy; its rules are {}", name,
                                     printable(rule), printable(fmt::format("{}", fmt::join(rules, ", ")))));
      }
      policy.reasons[rule] = why.get<std::string>();
    }
  }
  if (!can_fail(policy)) {
    throw UsageError(name + ": nothing in this policy can fail; give a limit below 1, or require an attack");
  }
  return policy;
}

Policy read_policy_file(const std::string& path) {
  try {
    Policy policy = read_policy(parse_json(read_file(path, largest_policy), path), path);
    for (const auto& [attack, limits] : policy.attacks) require_attack(attack, path + ": attacks");
    for (const auto& attack : policy.require_attacks) require_attack(attack, path + ": require_attacks");
    return policy;
  } catch (const InputError& error) {
    throw UsageError(
        error.what());  // a policy that cannot be read is bad usage, not a bad input (docs/report.md, exit codes)
  }
}

Gate apply(const Policy& policy, const Report& report) { return Judge(policy, report).run(); }

Verdict verdict_of(const Policy& policy, const Gate& gate) {
  const auto any = [&](Outcome outcome) {
    return std::any_of(gate.rules.begin(), gate.rules.end(), [&](const auto& rule) { return rule.outcome == outcome; });
  };
  if (any(Outcome::fail)) return Verdict::fail;
  return any(Outcome::inconclusive) ? policy.on_inconclusive : Verdict::pass;
}

}  // namespace afterimage
