// Text from files, made safe to print; and numbers as text.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace afterimage {

// At most 80 characters, control characters and non-ASCII bytes as \xNN: a hostile name cannot break a line or a
// terminal.
std::string printable(std::string_view text);
// All of `text`, with only control characters and those that turn the direction of writing as \xNN: for a reason from a
// report, which may be long and is UTF-8.
std::string on_one_line(std::string_view text);

// "a, b and 3 more", of the first `shown`.
std::string listed(const std::vector<std::string>& items, std::size_t shown);

// The number that `text` is as a whole, written as in 1.5e-3; infinite where it is too large. Nothing where it is none.
std::optional<double> number_in(std::string_view text);

// "12.5 %" of 0.125.
std::string percent(double fraction);

}  // namespace afterimage
