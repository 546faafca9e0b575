// Reading a report that exists.
#pragma once

#include <string>

#include "reports/report.h"

namespace afterimage {

// Throws InputError.
Report read_report(const std::string& path);

}  // namespace afterimage
