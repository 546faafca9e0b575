// The gate's result for code-scanning services: SARIF 2.1.0. What they ask of it, and why it is as it is, is in
// docs/ci-formats.md.
#pragma once

#include <filesystem>
#include <string>

#include "reports/report.h"

namespace afterimage {

// Rules that passed leave no result. A failed rule has level "error"; an inconclusive one "error", "warning" or "note",
// as the policy counts it as "fail", "inconclusive" or "pass". Without a gate there are neither rules nor results.
// Each result points at the policy, relative to `folder`, in which the program runs; a policy that lies elsewhere is
// named by its file name alone. Throws nothing.
Json to_sarif(const Report& report, const std::filesystem::path& policy_file, const std::filesystem::path& folder);

// The network that a gate's result is of. SARIF and JUnit tell networks apart by `digest`.
struct GatedWeights {
  std::string digest;  // SHA-256 of the trained weights, 64 hexadecimal digits; of all inputs where none are recorded
  std::string file;    // as recorded; of an absolute path, or one with "..", the last part alone; may be empty

  std::string short_digest() const { return digest.substr(0, 12); }
};
GatedWeights gated_weights(const Report& report);

// What an inconclusive rule counts as under the gate's policy: fail where it does not say.
Verdict inconclusive_counts_as(const Gate& gate);

}  // namespace afterimage
