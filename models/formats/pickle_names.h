// Names that a pickle may use.
#pragma once

#include <optional>
#include <string_view>

namespace afterimage {

// The name, as a text that lives as long as the program, where it is known; else nothing.
std::optional<std::string_view> known_function(std::string_view name);         // may be "called": nothing is run
std::optional<std::string_view> known_type(std::string_view name);             // may be named, but not called
std::optional<std::string_view> known_script_function(std::string_view name);  // TorchScript's tags of lists

// Whether Python would run programs or code by this name, or reach files or the network. The list of such modules
// cannot be complete; it is a warning of files that are not safe to load elsewhere. Nothing that is named is run here.
bool runs_code(std::string_view name);

}  // namespace afterimage
