#include "attacks/vertices.h"

#include <fmt/format.h>

#include "attacks/solver/cost.h"
#include "attacks/solver/deflation.h"

namespace afterimage {
std::vector<OptionSpec> Vertices::options() const {
  return {
      {"directions", "random directions at most; the search ends before when they stop leading to new images", "400"}};
}

void Vertices::validate(const OptionValues& options) const {
  static_cast<void>(options.whole("directions", 0, 10'000'000));
}

Estimate Vertices::estimate(const Subject& subject, std::int64_t images, const OptionValues& options) const {
  Estimate estimate = cost_of_span(sizes_of(std::get<TrainedNetwork>(subject.released)));
  const auto rank = static_cast<double>(images);
  if (images <= most_missing_for_a_sweep) {
    estimate.programme_seconds =
        seconds_of_programmes(static_cast<double>(options.whole("directions", 0, 10'000'000)), rank);
  }
  return estimate;
}

Reconstruction Vertices::run(const Subject& subject, const HandOver& hand_over, const OptionValues& options,
                             Generator& random, Progress& progress, StateStore&) const {
  progress.stage("vertices: row space of the first layer's change");
  Reconstruction result;
  const auto& released = std::get<TrainedNetwork>(subject.released);
  const SpanSearch search = row_span_of(released);
  if (!search.span) {
    result.status = Status::not_applicable;
    result.reason = search.evidence;
    return result;
  }
  result.evidence["rank"] = search.span->rank;
  if (search.span->rank > largest_rank) {
    result.status = Status::not_applicable;
    result.reason = fmt::format("the span has {} dimensions; linear programmes are tried in {} at most",
                                search.span->rank, largest_rank);
    return result;
  }
  Deflation deflation(subject, *search.span);
  deflation.accept(hand_over.confirmed);
  progress.stage(fmt::format("vertices: linear programmes in {} dimensions", deflation.rank()));
  if (hand_over.candidates.defined()) {
    NullStore no_store;
    deflation.offer(at::mm(hand_over.candidates.to(at::kDouble), deflation.polytope().basis().t()), progress, no_store);
  }
  deflation.sweep(options.whole("directions", 0, 10'000'000), random, progress);

  result.claim = deflation.claim(at::zeros({0, released.network->inputs()}, at::kFloat));
  result.complete = deflation.missing() == 0;
  result.evidence["slack"] = deflation.polytope().slack();
  result.evidence["fewest_active_bounds"] = deflation.fewest_active();
  if (result.claim.images.size(0) > 0) return result;
  result.claim = {};
  if (progress.out_of_time()) {
    result.status = Status::inconclusive;
    result.reason = "there was no time for the linear programmes that would tell";
  } else {
    result.status = Status::not_applicable;
    result.reason = fmt::format(
        "no vertex of the polytope in {} dimensions has bounds that agree with each other: the images have too few "
        "pixels at a bound, or there are too many images for random directions",
        deflation.rank());
  }
  return result;
}

}  // namespace afterimage
