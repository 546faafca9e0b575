#include "audit/class_frequencies.h"

#include <algorithm>

#include "models/foundations/statistics.h"

namespace afterimage {
namespace {

std::vector<std::int64_t> class_counts(const Tensor& targets) {
  const Tensor classes = targets.size(1) == 1 ? (targets.squeeze(1) > 0).to(at::kLong) : targets.argmax(1);
  const Tensor counts = at::bincount(classes, {}, std::max<std::int64_t>(2, targets.size(1)));
  return {counts.data_ptr<std::int64_t>(), counts.data_ptr<std::int64_t>() + counts.numel()};
}

}  // namespace

double same_classes_p_value(const Tensor& a, const Tensor& b) {
  return same_frequencies_p_value(class_counts(a), class_counts(b));
}

}  // namespace afterimage
