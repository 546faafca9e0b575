// JSON from files that may be hostile: bounded depth, no duplicate keys.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace afterimage {

// Throws InputError naming `file`: not JSON, nested deeper than 64, or a key twice in one object.
nlohmann::ordered_json parse_json(std::string_view text, const std::string& file);

}  // namespace afterimage
