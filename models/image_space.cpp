#include "models/image_space.h"

namespace afterimage {

bool is_picture(const std::vector<std::int64_t>& shape) {
  return shape.size() == 2 || (shape.size() == 3 && (shape[2] == 1 || shape[2] == 3));
}

bool ImageSpace::is_picture() const { return afterimage::is_picture(shape); }

Tensor ImageSpace::times_scale(const Tensor& differences) const {
  return scale.defined() ? differences * scale.to(differences.scalar_type()) : differences;
}

Tensor ImageSpace::over_scale(const Tensor& differences) const {
  return scale.defined() ? differences / scale.to(differences.scalar_type()) : differences;
}

double ImageSpace::width() const { return scale.defined() ? scale.reciprocal().median().item<double>() : 1; }

}  // namespace afterimage
