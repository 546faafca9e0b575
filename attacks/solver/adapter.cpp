#include "attacks/solver/adapter.h"

#include <algorithm>

#include "models/rounding.h"

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

// What changed between the two checkpoints.
struct Changes {
  std::vector<Tensor> weights;  // [out, in] each, float64
  bool still_weight = false, still_bias = false, moved_bias = false;
};

Changes changes_of(const TrainedNetwork& released) {
  Changes changes;
  for (std::size_t i = 0; i < released.trained.size(); ++i) {
    const Tensor &before = released.initial[i], &after = released.trained[i];
    const bool moved = !same_but_for_rounding(before, after).all().item<bool>();
    if (after.dim() < 2) {
      changes.moved_bias = changes.moved_bias || moved;
      changes.still_bias = changes.still_bias || (!moved && after.ne(0).any().item<bool>());  // zeros stand for none
    } else if (moved) {
      changes.weights.push_back(after.to(at::kDouble).sub(before.to(at::kDouble)).flatten(1));
    } else {
      changes.still_weight = true;
    }
  }
  return changes;
}

// Whether all have this rank, or all that their sizes allow, and two or more are far larger.
bool have_rank(const std::vector<Tensor>& changes, std::int64_t rank) {
  std::int64_t clear = 0;
  for (const auto& change : changes) {
    const bool has = clear_rank(change) == rank;
    clear += has ? 1 : 0;
    if (!has && std::min(change.size(0), change.size(1)) > rank) return false;
  }
  return rank > 0 && clear > 1;
}

// Null unless weights changed so and no bias did, and every weight changed or not every one, as is asked.
std::optional<MergedAdapter> adapter_in(const TrainedNetwork& released, bool in_every_layer) {
  if (!released.knows_initial()) return std::nullopt;
  const Changes changes = changes_of(released);
  if (changes.still_weight == in_every_layer || !changes.still_bias || changes.moved_bias) return std::nullopt;
  if (changes.weights.size() < 2) return std::nullopt;
  const std::int64_t rank = clear_rank(changes.weights.front());
  if (!have_rank(changes.weights, rank)) return std::nullopt;
  return MergedAdapter{rank, static_cast<std::int64_t>(changes.weights.size())};
}

}  // namespace

std::optional<MergedAdapter> merged_adapter(const TrainedNetwork& released) {
  return adapter_in(released, /*in_every_layer=*/false);
}

bool may_be_adapter(const TrainedNetwork& released) {
  return adapter_in(released, /*in_every_layer=*/true).has_value();
}

}  // namespace afterimage
