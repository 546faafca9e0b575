// The gate's result for code-scanning services: SARIF 2.1.0, one result for each rule.
#pragma once

#include <string>

#include "reports/report.h"

namespace afterimage {

// `policy_file` is where each result points. A report without a gate has no results.
Json to_sarif(const Report& report, const std::string& policy_file);

}  // namespace afterimage
