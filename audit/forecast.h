// The time and memory that an audit will need.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "audit/runner.h"

namespace afterimage {

struct Forecast {
  std::string attack;
  double seconds = 0;  // an upper estimate
  double bytes = 0;    // of the whole program while it runs, at its peak
};

// One for each attack of the request. Measures this machine's rate of matrix products, which takes some tenths of a
// second.
std::vector<Forecast> forecast(const AuditInput& input, const AuditRequest& request, const Context& context);

// "512 MiB", "2GiB", "1000000" in bytes. Throws UsageError naming the option.
double parse_bytes(const std::string& option, const std::string& text);
std::string bytes_text(double bytes);

}  // namespace afterimage
