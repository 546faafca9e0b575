// JSON from files that may be hostile: bounded depth and size, no duplicate keys.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace afterimage {

// A value takes many times the memory of its text: this many take about two gigabytes at most.
inline constexpr std::size_t most_json_values = 20'000'000;

// Throws InputError naming `file`: not JSON, nested deeper than 64, a key twice in one object, an object of more than
// 16384 names, or more than `most_values` values and names. Takes time in proportion to the text, but for the sorting
// of an object's names.
nlohmann::ordered_json parse_json(std::string_view text, const std::string& file,
                                  std::size_t most_values = most_json_values);

}  // namespace afterimage
