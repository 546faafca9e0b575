// Images as pictures, where their shape is a picture's.
#pragma once

#include <string>
#include <vector>

#include "models/image_space.h"
#include "reports/contact_sheet.h"

namespace afterimage {

// Pixels [d] in [0, 1], of a shape that is a picture's.
Picture picture_of(const Tensor& pixels, const std::vector<std::int64_t>& shape);
std::string png_of(const Tensor& pixels, const std::vector<std::int64_t>& shape);  // base64

}  // namespace afterimage
