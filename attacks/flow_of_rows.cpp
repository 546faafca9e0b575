#include "attacks/flow_of_rows.h"

#include <algorithm>
#include <utility>

#include "attacks/solver/limits.h"
#include "attacks/solver/path_points.h"
#include "attacks/solver/row_exchange.h"

namespace afterimage {
namespace {

// The best other level explains 0.42 to 0.85 of what most right rows do, and 0.73 to 1.2 of what a wrong one does
// (tables of 12 columns with 5 levels, N = 30 and 100). What explains little falls below that by chance: it follows the
// error of the tangent features, as a row beside all twelve training rows of a small table did, with 0.12 of what these
// left and 0.002 of all.
constexpr double largest_second = 0.85;
constexpr double least_of_unexplained = 0.05, least_of_all = 3e-3;

}  // namespace

Reconstruction flow_of_rows(const Subject& subject, const std::optional<RowSpan>& span, const Tensor& sure,
                            Reconstruction polished, std::int64_t rounds, Job& job) {
  const auto& released = std::get<TrainedNetwork>(subject.released);
  Claim& claim = polished.claim;
  if (!claim.images.defined() || job.progress.out_of_time()) return polished;
  const Tensor confirmed = claim.images.index_select(0, at::nonzero(claim.confirmed).squeeze(1));
  const Tensor certain = sure.defined() ? at::cat({sure, confirmed}) : confirmed;
  if (held_points(released, certain.size(0) + 1) == 0) return polished;  // the kernel would not fit into memory
  RowExchange exchange(subject, span ? released.initial.times(span->decay) : released.initial, released.trained, job);
  const RowExchange::Result found = exchange.run(certain, claim.images, rounds);
  const double least_gain = std::max(least_of_unexplained * found.unexplained, least_of_all);
  const Tensor proven = (found.second < largest_second).logical_and(found.gain > least_gain);
  claim.confirmed = at::cat(
      {(at::arange(found.rows.size(0)) < found.sure).logical_or(proven), at::zeros({claim.images.size(0)}, at::kBool)});
  claim.images = at::cat({found.rows.to(at::kFloat), claim.images});
  if (polished.status == Status::inconclusive && found.unexplained < most_unexplained) {
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
