// The gate's result for CI dashboards: JUnit XML, one test case for each rule.
#pragma once

#include <string>

#include "reports/report.h"

namespace afterimage {

std::string to_junit(const Report& report);

}  // namespace afterimage
