#include "attacks/flow_of_rows.h"

#include <algorithm>
#include <utility>

#include "attacks/solver/capacity.h"
#include "attacks/solver/limits.h"
#include "attacks/solver/one_hot_rows.h"
#include "attacks/solver/row_exchange.h"

namespace afterimage {
namespace {

// The best other level explains 0.42 to 0.85 of what most right rows do, and 0.73 to 1.2 of what a wrong one does
// (tables of 12 columns with 5 levels, N = 30 and 100). What explains little falls below that by chance: it follows the
// error of the tangent features, as a row beside all twelve training rows of a small table did, with 0.12 of what these
// left and 0.002 of all.
constexpr double largest_second = 0.85;
constexpr double least_of_unexplained = 0.05, least_of_all = 3e-3;

constexpr std::int64_t most_rows = 150, most_points = 8, parameters_a_feature = 4;
constexpr std::int64_t largest_kernel = 8000;  // features of all that is tried for one row, and of all rows

}  // namespace

Reconstruction flow_of_rows(const Subject& subject, const std::optional<RowSpan>& span, const Tensor& sure,
                            Reconstruction polished, std::int64_t rounds, Job& job) {
  const auto& released = std::get<TrainedNetwork>(subject.released);
  Claim& claim = polished.claim;
  if (!claim.images.defined() || job.progress.out_of_time()) return polished;
  const std::int64_t columns = subject.space.dimension(), features = most_points * released.network->outputs();
  // Of more features than a part of the parameters that were trained, any explain much of their change.
  const std::int64_t most = std::min(most_rows, capacity_of(released).equations / (parameters_a_feature * features));
  if ((columns + most) * features > largest_kernel || (span && most < span->rank)) return polished;
  // Those that are rows already.
  const Tensor of_rows = are_rows(subject.space, claim.images).logical_and(claim.confirmed);
  Tensor certain = claim.images.index_select(0, at::nonzero(of_rows).squeeze(1));
  if (sure.defined()) {
    certain = at::cat({sure.index_select(0, at::nonzero(are_rows(subject.space, sure)).squeeze(1)), certain});
  }
  if (certain.size(0) >= most) return polished;
  RowExchange exchange(subject, span ? released.initial.times(span->decay) : released.initial, released.trained, most,
                       job);
  const RowExchange::Result found = exchange.run(certain, claim.images, rounds);
  if (!found.rows.defined()) return polished;
  const double least_gain = std::max(least_of_unexplained * found.unexplained, least_of_all);
  const Tensor proven = (found.second < largest_second).logical_and(found.gain > least_gain);
  const Tensor right = (at::arange(found.rows.size(0)) < found.sure).logical_or(proven);
  // One claim for each row.
  const Tensor rows = found.rows.index_select(0, at::nonzero(right).squeeze(1));
  const Tensor again =
      RowExchange::are_equal(nearest_rows(subject.space, claim.images), rows).any(1).logical_or(of_rows);
  claim.confirmed = at::cat({right, claim.confirmed.logical_and(~again)});
  claim.images = at::cat({found.rows.to(at::kFloat), claim.images});
  if (polished.status == Status::inconclusive && found.unexplained < most_unexplained && proven.any().item<bool>()) {
    polished.status = Status::ok;  // the polished images were too far off, the rows are not
    polished.reason.clear();
  }
  polished.evidence["groups"] = subject.space.one_hot.size();
  polished.evidence["rows"] = found.rows.size(0);
  polished.evidence["exchanges"] = found.exchanges;
  polished.evidence["unexplained_by_rows"] = found.unexplained;
  return polished;
}

}  // namespace afterimage
