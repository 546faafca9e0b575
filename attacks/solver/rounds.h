// The frame of reconstruction by searches.
//
// In a row space, in rounds: a search proposes candidates, these are led to vertices of the pixel polytope, what can be
// confirmed is held, and the next round searches for the rest (docs/methods.md, section 3). Elsewhere, and for what the
// rounds left: searches from different random images, of which the best is kept. The state of all of it is kept, so
// that an interrupted attack continues to the same result.
//
// An attack gives a Proposer for what is its own; finite_width.cpp and kkt.cpp are examples.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "attacks/attack.h"
#include "attacks/solver/deflation.h"
#include "attacks/solver/search.h"
#include "attacks/solver/search_history.h"

namespace afterimage {

// The settings of every attack that searches in this frame, of the options space, candidates, steps, rounds and
// restarts.
struct SearchSettings {
  std::string space;  // "auto", "pixels" or "span"
  std::int64_t rounds, restarts;
  SearchPlan plan;  // candidates: 0 where the attack chooses how many

  // Throws UsageError.
  explicit SearchSettings(const OptionValues& options);
  // Whether the search is expected to be inside a row space in which candidates are led to vertices, for an estimate.
  bool expects_rounds(std::int64_t images) const;
};

// How one attack makes a round.
class Proposer {
 public:
  virtual ~Proposer() = default;
  // Whether to begin another round, beside what ends rounds in every attack: their number, and nothing missing.
  virtual bool begins_round() const = 0;
  // The candidates of a round's search, with what is known held.
  virtual SearchResult propose(Job& job) = 0;
  // After candidates were offered: other ways to confirm images, and tests that take some back. `known_before` the
  // round. Returns whether another round may follow.
  virtual bool review(std::int64_t known_before) = 0;
};

class Rounds {
 public:
  // `attack` is its name, for messages. The search is inside `span` unless there is none or the settings say pixels;
  // `leverage` is that of Deflation. `subject`, `settings` and `job` have to outlive this.
  Rounds(std::string attack, const Subject& subject, const SearchSettings& settings, const std::optional<RowSpan>& span,
         Job& job, double leverage = largest_leverage);

  bool in_span() const { return basis_.defined(); }
  const Tensor& basis() const { return basis_; }  // [r, d] float64; undefined where the search is over pixels
  // What is known in the span. Null where candidates are not led to vertices: without a span, in one of too many
  // dimensions, or with zero rounds.
  Deflation* deflation() { return deflation_ ? &*deflation_ : nullptr; }
  const Deflation* deflation() const { return deflation_ ? &*deflation_ : nullptr; }
  std::int64_t known() const { return deflation_ ? deflation_->found() : 0; }
  std::int64_t missing() const { return deflation_->missing(); }  // with deflation
  bool all_found() const { return deflation_ && missing() == 0; }
  SearchHistory& history() { return history_; }
  const SearchHistory& history() const { return history_; }

  // Continues from the state that an interrupted run kept, if any.
  void resume();
  // Rounds, with deflation: none where an interrupted run was past them.
  void run(Proposer& proposer);
  // A plan for a round from one for a whole search: shorter, and not continued until the loss settles.
  static SearchPlan plan_of_round(SearchPlan plan, std::int64_t steps);

  // The settings' restarts of a search with so many candidates; the best of them is history().best.
  using Search = std::function<SearchResult(Job&)>;
  void restart(std::int64_t candidates, const Search& search);
  // Offers the best candidates of the restarts, with deflation. Returns how many images are confirmed by it.
  std::int64_t offer_best();
  // Whether an interrupted run was past its search, and had not offered all candidates that it had found.
  bool was_offering() const { return kept_.has("offered"); }

  // What is known, then what may be, then `searched` [n, d] float32; and the entries that every such attack reports.
  void claim(const Tensor& searched, Reconstruction& result) const;

 private:
  State state() const;
  SearchResult searched(const Search& search);
  std::int64_t offer(const Tensor& candidates);

  std::string attack_;
  const SearchSettings& settings_;
  Job& job_;
  Tensor basis_;
  std::optional<Deflation> deflation_;
  SearchHistory history_;
  State kept_;  // of an interrupted run, until it is used
};

}  // namespace afterimage
