#include "attacks/solver/search_history.h"

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

State SearchHistory::state() const {
  State now;
  now.set("iterations", iterations).set("restarts", restarts).set("past_rounds", std::int64_t{past_rounds});
  if (loss_initial) now.set("loss_initial", *loss_initial);
  now.set("found_by_round", at::tensor(found_by_round, at::kLong));
  if (best) now.set("best", state_of(*best));
  return now;
}

void SearchHistory::restore(const State& kept) {
  iterations = kept.whole("iterations");
  restarts = kept.whole("restarts");
  past_rounds = kept.whole("past_rounds") != 0;
  if (kept.has("loss_initial")) loss_initial = kept.number("loss_initial");
  found_by_round = kept.wholes("found_by_round");
  if (const State kept_best = kept.part("best"); !kept_best.empty()) best = result_of(kept_best);
}

}  // namespace afterimage
