#include "audit/gate.h"

#include "models/base/error.h"

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

TEST_CASE("a policy with anything wrong in it is refused in one line") {
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
  CHECK_THROWS_AS(read_policy(Json::parse(R"({"max_reconstructed_rate": 0})"), "p"), UsageError);
}

TEST_CASE("the policy of the contract is accepted word by word") {
  CHECK_NOTHROW(policy_from(R"(, "max_reconstructed_rate": 0.0, "max_membership_tpr_at_1pct_fpr": 0.05,
    "attacks": {"finite-width": {"max_reconstructed_rate": 0.02}}, "require_attacks": ["finite-width", "span"],
    "minimum_control_samples": 100, "on_inconclusive": "fail", "reasons": {"max_reconstructed_rate": "why this limit"})"));
}

TEST_CASE("a rate is held against its limit, and the worst attack decides") {
  CHECK(verdict(R"(, "max_reconstructed_rate": 0.0)", {finding_with("a", 0, 20)}) == Verdict::pass);
  CHECK(verdict(R"(, "max_reconstructed_rate": 0.0)", {finding_with("a", 0, 20), finding_with("b", 1, 20)}) ==
        Verdict::fail);
  CHECK(verdict(R"(, "max_reconstructed_rate": 0.1)", {finding_with("a", 2, 20)}) == Verdict::pass);
  CHECK(verdict(R"(, "max_reconstructed_rate": 0.1)", {finding_with("a", 3, 20)}) == Verdict::fail);
}

TEST_CASE("an attack's own limit replaces the common one for it alone") {
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
  CHECK(verdict(fields, {finding_with("a", 0, 20)}) == Verdict::fail);   // 0 of 20: upper end 0.168
  CHECK(verdict(fields, {finding_with("a", 0, 100)}) == Verdict::pass);  // 0 of 100: upper end 0.036
}

TEST_CASE("an attack that came to no result cannot pass, but what it found can fail") {
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

TEST_CASE("raising a limit never turns a pass into a failure") {
  for (std::int64_t count = 0; count <= 20; ++count) {
    bool passed = false;
    for (int limit = 0; limit < 100; ++limit) {
      const auto result =
          verdict(R"(, "on_inconclusive": "pass", "max_reconstructed_rate": )" + std::to_string(limit / 100.0),
                  {finding_with("a", count, 20)});
      CHECK_FALSE((passed && result == Verdict::fail));
      passed = passed || result == Verdict::pass;
    }
  }
}

}  // namespace afterimage
