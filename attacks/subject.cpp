#include "attacks/subject.h"

#include <fmt/format.h>

#include <cmath>

namespace afterimage {

bool TrainedNetwork::some_unchanged() const {
  for (std::size_t i = 0; i < initial.size(); ++i) {
    if (at::equal(initial[i], trained[i])) return true;
  }
  return false;
}

double TrainedNetwork::relative_change() const {
  return std::sqrt(trained.minus(initial).squared_norm() / trained.squared_norm());
}

std::string TrainedNetwork::hidden_by_float32() const {
  constexpr double hidden = 1e-5;  // of which rounding to float32 takes a percent
  if (!knows_initial()) return "";
  const double change = relative_change();
  if (change >= hidden) return "";
  return fmt::format("the change is {:.1g} of the parameters, of which this attack's float32 holds 1e-7", change);
}

}  // namespace afterimage
