// Runs attacks, scores what they claim, and writes the report and the arrays beside it.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "audit/audit_input.h"
#include "audit/context.h"
#include "audit/gate.h"

namespace afterimage {

// How long to wait for an audit that was just interrupted: it finishes its step first.
constexpr auto longest_step = std::chrono::seconds(20);

struct AuditRequest {
  std::vector<std::string> attacks;            // names; empty: all, cheapest first
  std::map<std::string, std::string> options;  // of the attacks, as typed
  std::optional<Policy> policy;
  std::filesystem::path out;
  std::optional<double> time_limit;    // seconds: attacks that run then end with what they have
  std::optional<double> memory_limit;  // bytes: attacks that need more are not started
  double delta = 1e-5;                 // of bounds on epsilon
  bool resume = false;                 // use the findings that an interrupted run with the same inputs left in `out`
};

// An attack with the settings that it is to run with.
struct ChosenAttack {
  // `given`: options as typed; those of other attacks among them are ignored. Throws UsageError on a wrong value.
  ChosenAttack(const Attack& attack, const std::map<std::string, std::string>& given);

  const Attack& attack;
  ConfiguredAttack configured;
};

// The attacks that a request runs, in order. Throws UsageError on one that is unknown or named twice, or a wrong
// option.
std::vector<ChosenAttack> attacks_of(const AuditRequest& request);

// A hash of what is audited, weights included.
std::string fingerprint_of(const AuditInput& input);
// A hash of everything that decides a finding; `subject` is the hash of what is audited. A finding or a state that an
// interrupted run left is used only where this hash is the same.
std::string fingerprint_of(const std::string& subject, const HandOver& hand_over, const std::string& attack,
                           const std::map<std::string, std::string>& options, const Context& context);

// One attack, scored, continued from the state in `store`. Writes NAME.npz (claimed images, coefficients, scores) into
// `out`. The bound on epsilon is one at 95 %.
Finding run_attack(const ChosenAttack& chosen, const AuditInput& input, const HandOver& hand_over,
                   const Context& context, const std::filesystem::path& out, StateStore& store);

// The whole audit: attacks, deviation, gate. Writes report.json, report.html, contact-sheet.png and the arrays that
// `verify` recomputes scores from. An attack that throws is a finding, and the others go on, unless it
// throws a FatalError (models/foundations/error.h), which ends the audit.
Report run_audit(const AuditInput& input, const AuditRequest& request, const Context& context);

Deviation deviation_of(const AuditInput& input);

// The verdict without a policy: "inconclusive" where an attack was inconclusive or failed, or no attack applied; else
// "not-gated".
Verdict ungated_verdict(const std::vector<Finding>& findings);

}  // namespace afterimage
