// Time stamps in tables.
#pragma once

#include <optional>
#include <string>

namespace afterimage {

// A finite number as it stands; a date, or a date and time as 2024-01-31T10:20:30 or with a space, as the seconds since
// 1970 without a time zone. Null for other text.
std::optional<double> time_in(const std::string& text);

}  // namespace afterimage
