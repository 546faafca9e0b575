// The gate's result for CI dashboards: JUnit XML. What they ask of it, and why it is as it is, is in
// docs/ci-formats.md.
#pragma once

#include <string>

#include "reports/report.h"

namespace afterimage {

// One test case for each rule; its class name is that of the trained weights. A failed rule is a failure. An
// inconclusive one is an error, or skipped where the policy counts it as "pass". Without a gate there is no test case.
// Throws nothing.
std::string to_junit(const Report& report);

}  // namespace afterimage
