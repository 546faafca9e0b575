// The files of the pages (page/) and the chart library, compiled in.
#pragma once

#include <string_view>

namespace afterimage {

// Throws std::logic_error when there is no such file.
std::string_view page_file(std::string_view name);

}  // namespace afterimage
