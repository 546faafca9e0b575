// Reading a report that exists.
#pragma once

#include <string>

#include "reports/report.h"

namespace afterimage {

// Throws InputError.
Report read_report(const std::string& path);

// The page of a report, or of a comparison of defences, from its JSON alone. Throws InputError.
std::string render_file(const std::string& path);

}  // namespace afterimage
