#include "models/formats/time_stamp.h"

#include <cmath>
#include <ctime>

#include "models/foundations/text.h"

namespace afterimage {

std::optional<double> time_in(const std::string& text) {
  if (const auto number = number_in(text)) return std::isfinite(*number) ? number : std::nullopt;
  for (const char* form : {"%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"}) {
    std::tm parts{};
    const char* end = strptime(text.c_str(), form, &parts);
    if (end == nullptr || end != text.c_str() + text.size()) continue;
    const int day = parts.tm_mday;
    const auto seconds = static_cast<double>(timegm(&parts));  // which makes 30 February a day of March
    if (parts.tm_mday == day) return seconds;
  }
  return std::nullopt;
}

}  // namespace afterimage
