// Time stamps in tables.
#pragma once

#include <optional>
#include <string>

namespace afterimage {

struct TimeStamp {
  double time = 0;  // a finite number as it stands; of a date, the seconds since 1970 without a time zone
  bool is_date = false;
};

// A number, a date, or a date and time as 2024-01-31T10:20:30 or with a space; years have four digits. Null for other
// text.
std::optional<TimeStamp> time_in(const std::string& text);

}  // namespace afterimage
