#include "attacks/subject.h"

namespace afterimage {

bool TrainedNetwork::some_unchanged() const {
  for (std::size_t i = 0; i < initial.size(); ++i) {
    if (at::equal(initial[i], trained[i])) return true;
  }
  return false;
}

}  // namespace afterimage
