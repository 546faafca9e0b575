#include "models/augmentation.h"

#include <fmt/format.h>

#include "models/foundations/error.h"

namespace afterimage {

void require_augmentable(const std::vector<std::int64_t>& shape, std::int64_t shift) {
  if (shape.size() >= 2 && shape[0] > shift && shape[1] > shift) return;
  throw UsageError(fmt::format("--augment {}: needs pictures with more pixels than that in height and width", shift));
}

Tensor augmented(const Tensor& images, const std::vector<std::int64_t>& shape, std::int64_t shift, Generator& random) {
  require_augmentable(shape, shift);
  const std::int64_t count = images.size(0), height = shape[0], width = shape[1];
  const Tensor pictures = images.reshape({count, height, width, images.size(1) / (height * width)});
  const Tensor moves = at::randint(-shift, shift + 1, {count, 2}, random, at::TensorOptions(at::kLong));
  const Tensor mirrored = at::randint(0, 2, {count}, random, at::TensorOptions(at::kLong));
  Tensor result = at::zeros_like(pictures);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto down = moves[i][0].item<std::int64_t>(), right = moves[i][1].item<std::int64_t>();
    const Tensor picture = mirrored[i].item<std::int64_t>() != 0 ? pictures[i].flip({1}) : pictures[i];
    const std::int64_t kept_rows = height - std::abs(down), kept_columns = width - std::abs(right);
    const auto part = [&](const Tensor& whole, std::int64_t row, std::int64_t column) {
      return whole.narrow(0, std::max<std::int64_t>(row, 0), kept_rows)
          .narrow(1, std::max<std::int64_t>(column, 0), kept_columns);
    };
    part(result[i], down, right).copy_(part(picture, -down, -right));
  }
  return result.reshape(images.sizes());
}

}  // namespace afterimage
