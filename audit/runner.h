// Runs attacks on a case, scores what they claim, and writes what a report needs beside it.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "audit/context.h"
#include "audit/gate.h"
#include "audit/plan.h"

namespace afterimage {

struct AuditRequest {
  std::vector<std::string> attacks;            // names; empty: all, cheapest first
  std::map<std::string, std::string> options;  // of the attacks, as typed
  std::optional<Policy> policy;
  std::filesystem::path out;
  bool resume = false;  // findings that an interrupted run with the same inputs left in `out` are used again
};

// One attack, scored. Writes NAME.npz (claimed images, coefficients, scores) into `out`.
Finding run_attack(const Attack& attack, const Case& subject, const Handed& handed,
                   const std::map<std::string, std::string>& options, const Context& context,
                   const std::filesystem::path& out);

// The whole audit: attacks, deviation, gate. Writes report.json, report.html, contact-sheet.png and the arrays that
// `verify` recomputes scores from.
Report run_audit(const Case& subject, const AuditRequest& request, const Context& context);

Deviation deviation_of(const Case& subject);

// The finding of `attack` that its arrays in `folder` give: what `run_attack` reports and `verify` recomputes.
struct StoredClaim {
  Tensor images, confirmed, coefficients;          // undefined where the attack made none
  Tensor membership_training, membership_control;  // likewise
};
StoredClaim read_claim(const std::filesystem::path& file);
void fill_scores(Finding& finding, const StoredClaim& claim, const Truth& truth, const std::vector<std::string>& labels,
                 std::int64_t seed);

// contact-sheet.png: originals beside what the claim has for them, most exposed first. Nothing when there are no
// pictures.
void write_sheet_of(const Finding& finding, const StoredClaim& claim, const Case& subject,
                    const std::filesystem::path& out);

// Training and control images and what else scoring sees, as scoring.npz beside a report.
void write_truth(const std::filesystem::path& file, const Truth& truth, const Tensor& labels);
std::pair<Truth, std::vector<std::string>> read_truth(const std::filesystem::path& file);

// The verdict of a report without a policy: "not-gated", or "inconclusive" when an attack was, or none applied.
Verdict ungated_verdict(const std::vector<Finding>& findings);

}  // namespace afterimage
