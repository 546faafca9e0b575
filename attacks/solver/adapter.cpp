#include "attacks/solver/adapter.h"

#include <algorithm>

namespace afterimage {
namespace {

constexpr std::int64_t largest_rank = 128, beyond_rank = 32;
constexpr double least_fall = 100;  // what is left after the rank is the rounding of the merged weights

// The rank of a matrix whose singular values fall at once, 0 where they do not. Of a large one it is that of its
// product with a few random columns, which is the same but with probability zero.
std::int64_t clear_rank(const Tensor& matrix) {
  Tensor part = matrix;
  const std::int64_t columns = largest_rank + beyond_rank;
  if (part.size(1) > columns) {
    Generator random = seeded(1);
    part = at::mm(part, at::randn({part.size(1), columns}, random, part.options()));
  }
  const auto values = to_doubles(at::linalg_svdvals(part));
  const auto most = std::min<std::int64_t>(largest_rank, static_cast<std::int64_t>(values.size()) / 2);
  for (std::int64_t k = 1; k <= most && static_cast<std::size_t>(k) < values.size(); ++k) {
    const auto at = static_cast<std::size_t>(k);
    if (values[at - 1] > least_fall * values[at]) return k;
  }
  return 0;
}

}  // namespace

std::optional<MergedAdapter> merged_adapter(const TrainedNetwork& released) {
  if (!released.knows_initial()) return std::nullopt;
  std::vector<Tensor> changes;
  bool still_weight = false, bias = false;
  for (std::size_t i = 0; i < released.trained.size(); ++i) {
    const Tensor &before = released.initial[i], &after = released.trained[i];
    const bool moved = !at::equal(before, after);
    if (after.dim() < 2) {
      if (moved) return std::nullopt;
      bias = bias || after.ne(0).any().item<bool>();  // zeros stand for none
      continue;
    }
    if (!moved) {
      still_weight = true;
      continue;
    }
    changes.push_back(after.to(at::kDouble).sub(before.to(at::kDouble)).flatten(1));
  }
  if (changes.size() < 2 || !still_weight || !bias) return std::nullopt;
  const std::int64_t rank = clear_rank(changes.front());
  const bool alike = rank > 0 && std::all_of(changes.begin() + 1, changes.end(),
                                             [&](const Tensor& change) { return clear_rank(change) == rank; });
  if (!alike) return std::nullopt;
  return MergedAdapter{rank, static_cast<std::int64_t>(changes.size())};
}

}  // namespace afterimage
