// The files of the page, compiled in: template.html, style.css, script.js and the chart library.
#pragma once

#include <string_view>

namespace afterimage {

// Throws std::logic_error when there is no such file.
std::string_view page_file(std::string_view name);

}  // namespace afterimage
