#include "attacks/solver/history.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace afterimage {

std::int64_t SearchHistory::fruitless_rounds() const {
  return std::find_if(found_by_round.rbegin(), found_by_round.rend(), [](auto found) { return found > 0; }) -
         found_by_round.rbegin();
}

void SearchHistory::add(const SearchResult& found) {
  iterations += found.iterations;
  if (!loss_initial) loss_initial = found.loss_initial;
}

void SearchHistory::keep_if_better(SearchResult found) {
  if (!best || !std::isfinite(best->loss_final) || found.loss_final < best->loss_final) best = std::move(found);
}

void SearchHistory::tell(Reconstruction& result) const {
  result.iterations = iterations;
  result.loss_initial = loss_initial;
}

State state_of(const SearchHistory& history, const Generator& random, const std::optional<Deflation>& deflation) {
  State now;
  now.set("random", random.get_state()).set("iterations", history.iterations).set("restarts", history.restarts);
  if (history.loss_initial) now.set("loss_initial", *history.loss_initial);
  now.set("found_by_round", at::tensor(history.found_by_round, at::kLong));
  if (history.best) now.set("best", state_of(*history.best));
  if (deflation) now.set("deflation", deflation->state());
  return now;
}

void restore(const State& kept, SearchHistory& history, Generator& random, std::optional<Deflation>& deflation) {
  random.set_state(kept.tensor("random"));
  history.iterations = kept.whole("iterations");
  history.restarts = kept.whole("restarts");
  if (kept.has("loss_initial")) history.loss_initial = kept.number("loss_initial");
  history.found_by_round = kept.wholes("found_by_round");
  if (const State best = kept.part("best"); !best.empty()) history.best = result_of(best);
  if (deflation) deflation->restore(kept.part("deflation"));
}

}  // namespace afterimage
