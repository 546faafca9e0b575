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

}  // namespace afterimage
