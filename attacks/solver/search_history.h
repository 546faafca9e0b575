// The results of one attack's searches so far: the part of its state beside the search or the offer under way.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "attacks/solver/search.h"

namespace afterimage {

struct SearchHistory {
  std::int64_t iterations = 0;  // of all searches
  std::optional<double> loss_initial;
  std::vector<std::int64_t> found_by_round;
  std::int64_t restarts = 0;         // searches from different random images that are done
  bool past_rounds = false;          // restarts have begun
  std::optional<SearchResult> best;  // of the restarts, or of the last round where the attack keeps that

  std::int64_t rounds() const { return static_cast<std::int64_t>(found_by_round.size()); }
  std::int64_t fruitless_rounds() const;  // since the last one that found something
  void add(const SearchResult& found);
  // As the best, if its loss is lower; a loss that is not finite is higher than any.
  void keep_if_better(SearchResult found);

  State state() const;
  void restore(const State& kept);
};

}  // namespace afterimage
