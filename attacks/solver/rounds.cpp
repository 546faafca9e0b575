#include "attacks/solver/rounds.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "attacks/solver/limits.h"

namespace afterimage {

SearchSettings::SearchSettings(const OptionValues& options)
    : space(options.one_of("space", {"auto", "pixels", "span"})),
      rounds(options.whole("rounds", 0, 1000)),
      restarts(options.whole("restarts", 1, 1000)) {
  plan.steps = options.whole("steps", 1, 100'000'000);
  plan.candidates = options.whole("candidates", 0, most_candidates);
}

bool SearchSettings::expects_rounds(std::int64_t images) const {
  return space != "pixels" && images <= largest_rank && rounds > 0;
}

Rounds::Rounds(std::string attack, const Subject& subject, const SearchSettings& settings,
               const std::optional<RowSpan>& span, Job& job, double leverage)
    : attack_(std::move(attack)), settings_(settings), job_(job) {
  if (!span || settings.space == "pixels") return;
  basis_ = span->basis;
  if (settings.rounds > 0 && span->rank <= largest_rank) deflation_.emplace(subject, *span, leverage);
}

void Rounds::resume() {
  kept_ = job_.state.take();
  if (kept_.empty()) return;
  job_.random.set_state(kept_.tensor("random"));
  history_.restore(kept_);
  if (deflation_) deflation_->restore(kept_.part("deflation"));
}

State Rounds::state() const {
  State now = history_.state();
  now.set("random", job_.random.get_state());
  if (deflation_) now.set("deflation", deflation_->state());
  return now;
}

SearchResult Rounds::searched(const Search& search) {
  StageStore store(job_.state, state(), "search", std::exchange(kept_, {}).part("search"));
  Job stage{job_.random, job_.progress, store};
  SearchResult found = search(stage);
  history_.add(found);
  return found;
}

std::int64_t Rounds::offer(const Tensor& candidates) {
  StageStore store(job_.state, state().set("offered", candidates), "offer", std::exchange(kept_, {}).part("offer"));
  return deflation_->offer(candidates, job_.progress, store);
}

void Rounds::run(Proposer& proposer) {
  if (history_.past_rounds) return;
  while (history_.rounds() < settings_.rounds && missing() > 0 && proposer.begins_round()) {
    job_.progress.stage(
        fmt::format("{}: round {}, {} known, searching for {}", attack_, history_.rounds() + 1, known(), missing()));
    const std::int64_t known_before = known();
    offer(was_offering() ? kept_.tensor("offered")
                         : by_weight(searched([&](Job& job) { return proposer.propose(job); })));
    const bool goes_on = proposer.review(known_before);
    history_.found_by_round.push_back(known() - known_before);
    if (!goes_on) break;
  }
}

SearchPlan Rounds::plan_of_round(SearchPlan plan, std::int64_t steps) {
  plan.until_settled = false;
  plan.steps = std::min(steps, plan.steps);
  return plan;
}

void Rounds::restart(std::int64_t candidates, const Search& search) {
  history_.past_rounds = true;
  for (; history_.restarts < settings_.restarts && !(history_.best && job_.progress.out_of_time());
       ++history_.restarts) {
    job_.progress.stage(fmt::format("{}: search {} of {}, {} candidates in {}", attack_, history_.restarts + 1,
                                    settings_.restarts, candidates, in_span() ? "the span" : "pixels"));
    history_.keep_if_better(searched(search));
  }
}

std::int64_t Rounds::offer_best() { return offer(by_weight(*history_.best)); }

void Rounds::claim(const Tensor& searched, Reconstruction& result) const {
  result.iterations = history_.iterations;
  result.loss_initial = history_.loss_initial;
  if (deflation_) {
    result.complete = deflation_->complete();
    result.claim = deflation_->claim(searched);
  } else {
    result.claim.images = searched;
  }
}

}  // namespace afterimage
