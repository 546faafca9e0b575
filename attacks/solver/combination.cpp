#include "attacks/solver/combination.h"

namespace afterimage {

bool is_combination(const Tensor& known, const Tensor& image) {
  constexpr double left_out = 0.01;
  if (known.size(0) == 0 || known.size(0) >= known.size(1)) return false;
  const auto [q, r] = at::linalg_qr(known.t());  // [k, min(K, k)]
  const Tensor rest = image - at::mv(q, at::mv(q.t(), image));
  return rest.norm().item<double>() < left_out * image.norm().item<double>();
}

}  // namespace afterimage
