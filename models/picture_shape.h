// Whether inputs are pictures.
#pragma once

#include <cstdint>
#include <vector>

namespace afterimage {

// [h, w], [h, w, 1] or [h, w, 3].
inline bool is_picture(const std::vector<std::int64_t>& shape) {
  return shape.size() == 2 || (shape.size() == 3 && (shape[2] == 1 || shape[2] == 3));
}

}  // namespace afterimage
