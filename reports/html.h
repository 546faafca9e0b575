// A report as one page that needs nothing else: no network, no other file, readable without JavaScript.
#pragma once

#include <string>

#include "reports/report.h"

namespace afterimage {

// Text from files (names, labels, reasons) is escaped everywhere. The same report gives the same bytes.
std::string render_html(const Report& report);

}  // namespace afterimage
