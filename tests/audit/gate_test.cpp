#include "audit/gate.h"

#include <catch2/catch.hpp>

#include "models/foundations/error.h"
#include "reports/sarif.h"

namespace afterimage {
namespace {

Policy policy_from(const std::string& fields) {
  return read_policy(Json::parse("{\"schema\": \"afterimage.policy/1\"" + fields + "}"), "policy.json");
}

Finding finding_with(const std::string& attack, std::int64_t count, std::int64_t of, Status status = Status::ok) {
  Finding finding;
  finding.attack = attack;
  finding.status = status;
  finding.reconstructed = rate_of(count, of);
  finding.control = rate_of(0, 1000);
  return finding;
}

Report report_with(std::vector<Finding> findings) {
  Report report;
  report.data.control_samples = 1000;
  report.findings = std::move(findings);
  return report;
}

Verdict verdict(const std::string& fields, const std::vector<Finding>& findings) {
  const Policy policy = policy_from(fields);
  return verdict_of(policy, apply(policy, report_with(findings)));
}

}  // namespace

TEST_CASE("an invalid policy is refused in one line") {
  for (const auto& fields : {R"(, "max_reconstructed": 0.1)",                                        // unknown key
                             R"(, "max_reconstructed_rate": 1.5)",                                   // out of range
                             R"(, "max_reconstructed_rate": "none")",                                // no number
                             R"()",                                                                  // nothing can fail
                             R"(, "max_reconstructed_rate": 1.0)",                                   // nothing can fail
                             R"(, "require_attacks": ["span"], "on_inconclusive": "pass")",          // nothing can fail
                             R"(, "max_reconstructed_rate": 0, "on_inconclusive": "maybe")",         //
                             R"(, "max_reconstructed_rate": 0, "hold_against": "lower")",            //
                             R"(, "max_reconstructed_rate": 0, "attacks": {"span": {"limit": 0}})",  //
                             R"(, "max_reconstructed_rate": 0, "attacks": 7)",                       //
                             R"(, "max_reconstructed_rate": 0, "require_attacks": [7])",             //
                             R"(, "max_reconstructed_rate": 0, "minimum_control_samples": -1)",      //
                             R"(, "max_reconstructed_rate": -0.1)",                                  // out of range
                             R"(, "max_membership_tpr_at_1pct_fpr": 2)",                             // out of range
                             R"(, "max_reconstructed_rate": null)",                                  // no number
                             R"(, "max_epsilon_lower_bound": -1)",                                   // out of range
                             R"(, "max_epsilon_lower_bound": "8")",                                  // no number
                             R"(, "max_membership_advantage": 1.5)",                                 // out of range
                             R"(, "max_membership_advantage": 1)",                                   // nothing can fail
                             R"(, "minimum_control_samples": 0)",                                    // nothing can fail
                             R"(, "attacks": {"span": {}})",                                         // nothing can fail
                             R"(, "attacks": {"span": {"max_membership_tpr_at_1pct_fpr": 1}})",      // nothing can fail
                             R"(, "require_attacks": ["span"], "on_inconclusive": "inconclusive")",  // nothing can fail
                             R"(, "max_reconstructed_rate": 0, "attacks": {"span": 0})",             //
                             R"(, "max_reconstructed_rate": 0, "require_attacks": "span")",          //
                             R"(, "require_attacks": ["span", "kkt", "span"])",                      // a name twice
                             R"(, "max_reconstructed_rate": 0, "minimum_control_samples": 1.5)",     //
                             R"(, "max_reconstructed_rate": 0, "reasons": [])",                      //
                             R"(, "max_reconstructed_rate": 0, "reasons": {"require_attacks": "x"})",
                             R"(, "max_reconstructed_rate": 0, "reasons": {"max_recons\ntructed": "x"})",
                             R"(, "max_reconstructed_rate": 0, "on\ninconclusive": "pass")",
                             R"(, "max_reconstructed_rate": 0, "reasons": {"max_reconstructed_rate": 7})"}) {
    CAPTURE(fields);
    try {
      policy_from(fields);
      FAIL("accepted");
    } catch (const UsageError& error) {
      CHECK(std::string(error.what()).starts_with("policy.json: "));
      CHECK(std::string(error.what()).find('\n') == std::string::npos);
    }
  }
  for (const auto& document : {R"({"max_reconstructed_rate": 0})", R"([])", R"("afterimage.policy/1")", "null",
                               R"({"schema": "afterimage.policy/2", "max_reconstructed_rate": 0})"}) {
    CAPTURE(document);
    CHECK_THROWS_AS(read_policy(Json::parse(document), "p"), UsageError);
  }
}

TEST_CASE("the policy that is documented is accepted as it is") {
  CHECK_NOTHROW(policy_from(R"(, "max_reconstructed_rate": 0.0, "max_membership_tpr_at_1pct_fpr": 0.05,
    "attacks": {"finite-width": {"max_reconstructed_rate": 0.02}}, "require_attacks": ["finite-width", "span"],
    "minimum_control_samples": 100, "on_inconclusive": "fail", "reasons": {"max_reconstructed_rate": "why this limit"})"));
}

TEST_CASE("a rate is compared with its limit, and the worst attack decides") {
  CHECK(verdict(R"(, "max_reconstructed_rate": 0.0)", {finding_with("a", 0, 20)}) == Verdict::pass);
  CHECK(verdict(R"(, "max_reconstructed_rate": 0.0)", {finding_with("a", 0, 20), finding_with("b", 1, 20)}) ==
        Verdict::fail);
  CHECK(verdict(R"(, "max_reconstructed_rate": 0.1)", {finding_with("a", 2, 20)}) == Verdict::pass);
  CHECK(verdict(R"(, "max_reconstructed_rate": 0.1)", {finding_with("a", 3, 20)}) == Verdict::fail);
}

TEST_CASE("a count without control images cannot pass a rule, and can fail it") {
  Finding finding = finding_with("a", 0, 20);
  finding.control.reset();
  const std::string open = R"(, "max_reconstructed_rate": 0.0, "on_inconclusive": "inconclusive")";
  CHECK(verdict(open, {finding}) == Verdict::inconclusive);
  finding.reconstructed = rate_of(1, 20);
  CHECK(verdict(open, {finding}) == Verdict::fail);
}

TEST_CASE("the limit of an attack replaces the common limit for that attack only") {
  const std::string fields = R"(, "max_reconstructed_rate": 0.0, "attacks": {"a": {"max_reconstructed_rate": 0.5}})";
  CHECK(verdict(fields, {finding_with("a", 10, 20), finding_with("b", 0, 20)}) == Verdict::pass);
  CHECK(verdict(fields, {finding_with("a", 11, 20), finding_with("b", 0, 20)}) == Verdict::fail);
  CHECK(verdict(fields, {finding_with("a", 0, 20), finding_with("b", 1, 20)}) == Verdict::fail);
}

TEST_CASE("a set too small to tell the limit from zero makes the rule inconclusive") {
  const std::string open = R"(, "max_reconstructed_rate": 0.02, "on_inconclusive": "inconclusive")";
  CHECK(verdict(open, {finding_with("a", 0, 20)}) == Verdict::inconclusive);
  CHECK(verdict(open, {finding_with("a", 0, 50)}) == Verdict::pass);
  CHECK(verdict(open, {finding_with("a", 1, 20)}) == Verdict::fail);
  CHECK(verdict(R"(, "max_reconstructed_rate": 0.02)", {finding_with("a", 0, 20)}) == Verdict::fail);  // unless set
  CHECK(verdict(R"(, "max_reconstructed_rate": 0.02, "on_inconclusive": "pass")", {finding_with("a", 0, 20)}) ==
        Verdict::pass);
}

TEST_CASE("with hold_against upper the end of the interval decides") {
  const std::string fields = R"(, "max_reconstructed_rate": 0.1, "hold_against": "upper")";
  CHECK(verdict(fields, {finding_with("a", 1, 20)}) == Verdict::fail);   // 1 of 20: 0.05, upper end 0.249
  CHECK(verdict(fields, {finding_with("a", 0, 20)}) == Verdict::fail);   // 0 of 20: upper end 0.168
  CHECK(verdict(fields, {finding_with("a", 0, 100)}) == Verdict::pass);  // 0 of 100: upper end 0.036
  CHECK(verdict(R"(, "max_reconstructed_rate": 0.1)", {finding_with("a", 1, 20)}) == Verdict::pass);
}

TEST_CASE("nothing found in a set too small for the upper end is inconclusive, something found is a failure") {
  const std::string open =
      R"(, "max_reconstructed_rate": 0.1, "hold_against": "upper", "on_inconclusive": "inconclusive")";
  CHECK(verdict(open, {finding_with("a", 0, 20)}) == Verdict::inconclusive);
  CHECK(verdict(open, {finding_with("a", 1, 20)}) == Verdict::fail);
  CHECK(verdict(open, {finding_with("a", 0, 100)}) == Verdict::pass);
}

TEST_CASE("an inconclusive attack is not hidden by one that passes, and one that does not apply is left out") {
  const std::string open = R"(, "max_reconstructed_rate": 0.1, "on_inconclusive": "inconclusive")";
  Finding other = finding_with("b", 0, 20);
  other.reconstructed.reset();
  const std::vector<std::pair<Status, Verdict>> expected = {{Status::ok, Verdict::pass},
                                                            {Status::not_applicable, Verdict::pass},
                                                            {Status::inconclusive, Verdict::inconclusive},
                                                            {Status::failed, Verdict::inconclusive}};
  for (const auto& [status, result] : expected) {
    other.status = status;
    CAPTURE(name_of(status));
    CHECK(verdict(open, {finding_with("a", 0, 20), other}) == result);
    CHECK(verdict(open, {other}) == Verdict::inconclusive);
  }
  CHECK(verdict(open, {}) == Verdict::inconclusive);
}

TEST_CASE("a limit for an attack that was not run is inconclusive") {
  const std::string fields = R"(, "attacks": {"a": {"max_reconstructed_rate": 0}}, "on_inconclusive": ")";
  CHECK(verdict(fields + "inconclusive\"", {finding_with("b", 0, 20)}) == Verdict::inconclusive);
  CHECK(verdict(fields + "pass\"", {finding_with("b", 0, 20)}) == Verdict::pass);
  CHECK(verdict(fields + "fail\"", {finding_with("b", 0, 20)}) == Verdict::fail);
}

TEST_CASE("a violated rule outweighs inconclusive ones, whatever on_inconclusive is") {
  for (const std::string open : {"pass", "inconclusive", "fail"}) {
    CHECK(verdict(R"(, "max_reconstructed_rate": 0, "require_attacks": ["b"], "on_inconclusive": ")" + open + "\"",
                  {finding_with("a", 1, 20)}) == Verdict::fail);
  }
}

TEST_CASE("every rule gives one result that names what was measured, the limit and the policy's reason") {
  const Policy policy = policy_from(R"(, "max_reconstructed_rate": 0.5, "max_membership_tpr_at_1pct_fpr": 0.5,
    "attacks": {"a": {"max_reconstructed_rate": 0.25, "max_membership_tpr_at_1pct_fpr": 0.1}},
    "require_attacks": ["a", "b"], "minimum_control_samples": 100,
    "reasons": {"a.max_reconstructed_rate": "first reason", "require_attacks": "second reason"})");
  const Gate gate = apply(policy, report_with({finding_with("a", 5, 20), finding_with("b", 8, 20)}));
  std::vector<std::string> names;
  for (const auto& rule : gate.rules) {
    names.push_back(rule.rule);
    CHECK_FALSE(rule.reason.empty());
  }
  REQUIRE(names == std::vector<std::string>{"max_reconstructed_rate", "max_membership_tpr_at_1pct_fpr",
                                            "a.max_reconstructed_rate", "a.max_membership_tpr_at_1pct_fpr",
                                            "require_attacks.a", "require_attacks.b", "minimum_control_samples"});
  CHECK(gate.rules[0].measured == 0.4);
  CHECK(gate.rules[2].measured == 0.25);
  CHECK(gate.rules[2].limit == 0.25);
  CHECK(gate.rules[2].outcome == Outcome::pass);
  CHECK(gate.rules[0].reason.find("reason)") == std::string::npos);
  CHECK(gate.rules[2].reason.ends_with("(policy: first reason)"));
  CHECK(gate.rules[5].reason.ends_with("(policy: second reason)"));
  CHECK(gate.rules[6].measured == 1000.0);
  CHECK(gate.policy == policy.text);
}

TEST_CASE("an inconclusive attack cannot pass a rule, but what it found can violate it") {
  const std::string open = R"(, "max_reconstructed_rate": 0.1, "on_inconclusive": "inconclusive")";
  CHECK(verdict(open, {finding_with("a", 0, 20, Status::inconclusive)}) == Verdict::inconclusive);
  CHECK(verdict(open, {finding_with("a", 20, 20, Status::inconclusive)}) == Verdict::fail);
  const std::string required = R"(, "require_attacks": ["a"])";
  CHECK(verdict(required, {finding_with("a", 20, 20)}) == Verdict::pass);
  CHECK(verdict(required, {finding_with("a", 0, 20, Status::not_applicable)}) == Verdict::fail);
  CHECK(verdict(required, {finding_with("b", 0, 20)}) == Verdict::fail);
}

TEST_CASE("a membership rate that cannot be resolved is inconclusive, and too few control images are too") {
  const std::string open = R"(, "max_membership_tpr_at_1pct_fpr": 0.05, "on_inconclusive": "inconclusive")";
  Finding finding = finding_with("a", 0, 20);
  finding.membership = Membership{};
  CHECK(verdict(open, {finding}) == Verdict::inconclusive);
  finding.membership->tpr_at_fpr_0_01 = 0.04;
  CHECK(verdict(open, {finding}) == Verdict::pass);
  finding.membership->tpr_at_fpr_0_01 = 0.06;
  CHECK(verdict(open, {finding}) == Verdict::fail);
  CHECK(verdict(R"(, "minimum_control_samples": 1001)", {finding}) == Verdict::fail);
  CHECK(verdict(R"(, "minimum_control_samples": 1000)", {finding}) == Verdict::pass);
}

TEST_CASE("a bound on epsilon above its limit fails, and one that could never exceed it is inconclusive") {
  const auto judged = [](double value, double ceiling, const std::string& limit) {
    Finding finding = finding_with("a", 0, 20);
    finding.membership = Membership{};
    finding.membership->epsilon_lower_bound =
        EpsilonLowerBound{value, 1e-5, 0.95, BoundMethod::clopper_pearson, ceiling, 100};
    const Policy policy =
        policy_from(R"(, "max_epsilon_lower_bound": )" + limit + R"(, "on_inconclusive": "inconclusive")");
    const Gate gate = apply(policy, report_with({finding}));
    CHECK(gate.rules.at(0).measured == value);
    CHECK(gate.rules.at(0).reason.find('%') == std::string::npos);
    return verdict_of(policy, gate);
  };
  CHECK(judged(2.5, 4, "2") == Verdict::fail);
  CHECK(judged(1.5, 4, "2") == Verdict::pass);
  CHECK(judged(0, 4, "0") == Verdict::pass);
  CHECK(judged(1.5, 1.9, "2") == Verdict::inconclusive);  // 2 could not have been exceeded
  CHECK(judged(2.5, 4, "100") == Verdict::inconclusive);
  // Reports before 0.9, and findings without membership, have no bound.
  const std::string open = R"(, "max_epsilon_lower_bound": 2, "on_inconclusive": "inconclusive")";
  Finding older = finding_with("a", 0, 20);
  CHECK(verdict(open, {older}) == Verdict::inconclusive);
  older.membership = Membership{};
  CHECK(verdict(open, {older}) == Verdict::inconclusive);
}

TEST_CASE("a membership advantage is held against its limit, for all attacks or for one") {
  Finding finding = finding_with("a", 0, 20);
  finding.membership = Membership{};
  finding.membership->advantage = 0.3;
  CHECK(verdict(R"(, "max_membership_advantage": 0.25)", {finding}) == Verdict::fail);
  CHECK(verdict(R"(, "max_membership_advantage": 0.35)", {finding}) == Verdict::pass);
  CHECK(verdict(R"(, "max_membership_advantage": 0.25, "attacks": {"a": {"max_membership_advantage": 0.5}})",
                {finding, finding_with("b", 0, 20)}) == Verdict::fail);  // b measures none, and none is left
  CHECK(verdict(R"(, "attacks": {"a": {"max_membership_advantage": 0.5}})", {finding}) == Verdict::pass);
}

TEST_CASE("a membership rate of few images is compared with its limit as other rates are") {
  const auto judged = [](const std::string& fields, double rate, std::int64_t members) {
    Finding finding = finding_with("a", 0, 20);
    finding.membership = Membership{};
    finding.membership->tpr_at_fpr_0_01 = rate;
    Report report = report_with({finding});
    report.data.samples = members;
    const Policy policy =
        policy_from(R"(, "max_membership_tpr_at_1pct_fpr": 0.05, "on_inconclusive": "inconclusive")" + fields);
    return verdict_of(policy, apply(policy, report));
  };
  CHECK(judged("", 0, 8) == Verdict::inconclusive);  // 0 of 8 cannot tell 5 % from zero
  CHECK(judged("", 0, 20) == Verdict::pass);
  CHECK(judged("", 0.25, 8) == Verdict::fail);
  const std::string upper = R"(, "hold_against": "upper")";
  CHECK(judged(upper, 0, 20) == Verdict::inconclusive);  // upper end 0.168
  CHECK(judged(upper, 0, 100) == Verdict::pass);         // upper end 0.036
  CHECK(judged(upper, 0.04, 100) == Verdict::fail);      // upper end 0.099
}

// A limit of 0 is met when none of the given images is found. A limit above 0 is a rate, which a small set may not
// resolve: with the default on_inconclusive the property starts above 0.
TEST_CASE("raising a limit never turns a pass into a failure") {
  for (const std::string open : {"pass", "inconclusive", "fail"}) {
    for (const std::string against : {"rate", "upper"}) {
      for (const std::int64_t of : {3, 20, 200}) {
        for (const std::int64_t count : {0, 1, 2, 3}) {
          bool passed = false;
          for (int limit = open == "pass" ? 0 : 1; limit < 100; ++limit) {
            const auto fields = R"(, "on_inconclusive": ")" + open + R"(", "hold_against": ")" + against +
                                R"(", "max_reconstructed_rate": )" + std::to_string(limit / 100.0);
            const auto result = verdict(fields, {finding_with("a", count, of)});
            CAPTURE(fields, count, of);
            CHECK_FALSE((passed && result != Verdict::pass));
            passed = passed || result == Verdict::pass;
          }
        }
      }
    }
  }
}

TEST_CASE("an inconclusive rule has level error in SARIF exactly where the verdict fails because of it") {
  for (const std::string counts_as : {"", R"(, "on_inconclusive": "fail")", R"(, "on_inconclusive": "inconclusive")",
                                      R"(, "on_inconclusive": "pass")"}) {
    const Policy policy = policy_from(R"(, "max_reconstructed_rate": 0, "require_attacks": ["b"])" + counts_as);
    Report report = report_with({finding_with("a", 0, 20)});
    report.gate = apply(policy, report);
    const Json results = to_sarif(report, "policy.json", "/")["runs"][0]["results"];
    CAPTURE(counts_as);
    REQUIRE(results.size() == 1);
    CHECK((results[0]["level"] == "error") == (verdict_of(policy, *report.gate) == Verdict::fail));
  }
}

}  // namespace afterimage
