// What the searches of one attack have come to so far: what is kept of it beside the search or the offer under way.
#pragma once

#include <optional>
#include <vector>

#include "attacks/attack.h"
#include "attacks/solver/deflation.h"
#include "attacks/solver/search.h"

namespace afterimage {

struct SearchHistory {
  std::int64_t iterations = 0;  // of all searches
  std::optional<double> loss_initial;
  std::vector<std::int64_t> found_by_round;
  std::int64_t restarts = 0;
  std::optional<SearchResult> best;  // of the restarts

  std::int64_t rounds() const { return static_cast<std::int64_t>(found_by_round.size()); }
  std::int64_t fruitless_rounds() const;  // since the last one that found something
  void add(const SearchResult& found);
  void keep_if_better(SearchResult found);
  void tell(Reconstruction& result) const;  // iterations and the initial loss
};

// With the generator's state, and what is known where there is deflation.
State state_of(const SearchHistory& history, const Generator& random, const std::optional<Deflation>& deflation);
void restore(const State& kept, SearchHistory& history, Generator& random, std::optional<Deflation>& deflation);

}  // namespace afterimage
