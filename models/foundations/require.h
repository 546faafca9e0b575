#pragma once

#include <stdexcept>

namespace afterimage {

// Throws std::invalid_argument with this message unless the condition holds: for what callers have to see to.
inline void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

}  // namespace afterimage
