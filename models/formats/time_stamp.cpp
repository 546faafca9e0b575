#include "models/formats/time_stamp.h"

#include <cmath>
#include <ctime>

#include "models/foundations/text.h"

namespace afterimage {

std::optional<TimeStamp> time_in(const std::string& text) {
  if (const auto number = number_in(text)) {
    return std::isfinite(*number) ? std::optional(TimeStamp{*number, false}) : std::nullopt;
  }
  // strptime reads shorter years too, and 05-01-24 is not of the year 5.
  constexpr std::size_t year = 4;
  if (text.find_first_not_of("0123456789") != year || text[year] != '-') return std::nullopt;
  for (const char* form : {"%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"}) {
    std::tm parts{};
    const char* end = strptime(text.c_str(), form, &parts);
    if (end == nullptr || end != text.c_str() + text.size()) continue;
    const int day = parts.tm_mday;
    const auto seconds = static_cast<double>(timegm(&parts));  // which makes 30 February a day of March
    if (parts.tm_mday == day) return TimeStamp{seconds, true};
  }
  return std::nullopt;
}

}  // namespace afterimage
