#include "models/foundations/status.h"

#include <stdexcept>

namespace afterimage {

std::string name_of(Status status) {
  for (const auto& [known, name] : status_names) {
    if (known == status) return name;
  }
  throw std::logic_error("unknown status");
}

}  // namespace afterimage
