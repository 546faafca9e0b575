#include "models/foundations/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <system_error>

namespace afterimage {

std::string printable(std::string_view text) {
  constexpr std::size_t longest = 80;
  std::string safe;
  for (const char c : text.substr(0, longest)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f) {
      safe += fmt::format("\\x{:02x}", byte);
    } else {
      safe += c;
    }
  }
  if (text.size() > longest) safe += "...";
  return safe;
}

namespace {

// Bytes of a character of UTF-8 at the start of `text` that controls a terminal or turns the direction of writing: C1
// controls U+0080 to U+009F, and U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069. 0 where there is none.
std::size_t controlling(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0; };
  if (byte(0) == 0xc2 && byte(1) >= 0x80 && byte(1) <= 0x9f) return 2;
  if (byte(0) != 0xe2) return 0;
  const int last = byte(2);
  const bool marks = byte(1) == 0x80 && (last == 0x8e || last == 0x8f || (last >= 0xaa && last <= 0xae));
  const bool isolates = byte(1) == 0x81 && last >= 0xa6 && last <= 0xa9;
  return marks || isolates ? 3 : 0;
}

}  // namespace

std::string on_one_line(std::string_view text) {
  std::string safe;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const std::size_t escaped = byte < 0x20 || byte == 0x7f ? 1 : controlling(text.substr(i));
    if (escaped == 0) {
      safe += text[i];
      continue;
    }
    for (std::size_t k = 0; k < escaped; ++k) {
      safe += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[i + k]));
    }
    i += escaped - 1;
  }
  return safe;
}

std::string listed(const std::vector<std::string>& items, std::size_t shown) {
  const std::size_t count = std::min(items.size(), shown);
  const std::string text =
      fmt::format("{}", fmt::join(items.begin(), items.begin() + static_cast<std::ptrdiff_t>(count), ", "));
  return items.size() == count ? text : fmt::format("{} and {} more", text, items.size() - count);
}

std::optional<double> number_in(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size()) return std::nullopt;
  if (error == std::errc::result_out_of_range) return HUGE_VAL;
  if (error != std::errc()) return std::nullopt;
  return value;
}

std::string percent(double fraction) { return fmt::format("{:.1f} %", 100 * fraction); }

}  // namespace afterimage
