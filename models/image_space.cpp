#include "models/image_space.h"

namespace afterimage {

std::vector<double> levels_of(const Tensor& pixels) {
  constexpr double digits = 1e4;
  constexpr std::int64_t most = 8;
  const Tensor values = std::get<0>(at::_unique(pixels.to(at::kDouble).mul(digits).round()));
  if (values.numel() < 2 || values.numel() > most) return {};
  return to_doubles(values / digits);
}

bool is_picture(const std::vector<std::int64_t>& shape) {
  return shape.size() == 2 || (shape.size() == 3 && (shape[2] == 1 || shape[2] == 3));
}

bool ImageSpace::is_picture() const { return !named && afterimage::is_picture(shape); }

std::vector<std::int64_t> one_hot_groups(const Tensor& rows) {
  std::vector<std::int64_t> groups;
  if (!rows.eq(0).logical_or(rows.eq(1)).all().item<bool>()) return groups;
  for (std::int64_t first = 0, end = 0; first < rows.size(1); first = end) {
    Tensor sum = at::zeros({rows.size(0)}, rows.options());
    while (end < rows.size(1) && !sum.eq(1).all().item<bool>()) {
      sum += rows.select(1, end++);
      if (sum.gt(1).any().item<bool>()) return {};
    }
    if (!sum.eq(1).all().item<bool>()) return {};
    groups.push_back(end - first);
  }
  // Columns that are all ones are no levels.
  return static_cast<std::int64_t>(groups.size()) < rows.size(1) ? groups : std::vector<std::int64_t>();
}

Tensor ImageSpace::times_scale(const Tensor& differences) const {
  return scale.defined() ? differences * scale.to(differences.scalar_type()) : differences;
}

Tensor ImageSpace::over_scale(const Tensor& differences) const {
  return scale.defined() ? differences / scale.to(differences.scalar_type()) : differences;
}

double ImageSpace::width() const { return scale.defined() ? scale.reciprocal().median().item<double>() : 1; }

}  // namespace afterimage
