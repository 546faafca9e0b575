// Reading a report that exists.
#pragma once

#include <string>

#include "reports/report.h"

namespace afterimage {

// The JSON of a report, of a comparison or of tasks learned in turn. Throws InputError.
Json read_document(const std::string& path);
// Whether its schema is that of a report, of any version.
bool is_report(const Json& document);

// Throws InputError.
Report read_report(const std::string& path);

// The page of a report, of a comparison of defences or of tasks learned in turn, from its JSON alone. Throws
// InputError.
std::string render_file(const std::string& path);

}  // namespace afterimage
