// JSON from files that may be hostile: bounded depth, no duplicate keys.
#pragma once

#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace afterimage {

// Throws InputError naming `file`: not JSON, nested deeper than 64, a key twice in one object, or more than
// `most_values` values and names, each of which takes many times the memory of its text.
nlohmann::ordered_json parse_json(std::string_view text, const std::string& file,
                                  std::size_t most_values = std::numeric_limits<std::size_t>::max());

}  // namespace afterimage
