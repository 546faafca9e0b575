#include "attacks/vertices.h"

#include <fmt/format.h>

#include "attacks/solver/cost.h"
#include "attacks/solver/deflation.h"

namespace afterimage {
namespace {

struct Settings {
  std::int64_t directions;
};

Settings parse(const OptionValues& options) { return {options.whole("directions", 0, 10'000'000)}; }

Estimate estimate(const Settings& settings, const Subject& subject, std::int64_t images) {
  Estimate estimate = cost_of_span(sizes_of(std::get<TrainedNetwork>(subject.released)));
  if (images <= most_missing_for_a_sweep) {
    estimate.programme_seconds =
        seconds_of_programmes(static_cast<double>(settings.directions), static_cast<double>(images));
  }
  return estimate;
}

Reconstruction run(const Settings& settings, const Subject& subject, const HandOver& hand_over, Job& job) {
  job.progress.stage("vertices: row space of the first layer's change");
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
  if (job.progress.out_of_time()) return not_begun();
  Deflation deflation(subject, *search.span);
  deflation.accept(hand_over.confirmed);
  job.progress.stage(fmt::format("vertices: linear programmes in {} dimensions", deflation.rank()));
  if (hand_over.candidates.defined()) {
    NullStore no_store;
    deflation.offer(at::mm(hand_over.candidates.to(at::kDouble), deflation.polytope().basis().t()), job.progress,
                    no_store);
  }
  deflation.sweep(settings.directions, job.random, job.progress);

  result.claim = deflation.claim(at::zeros({0, released.network->inputs()}, at::kFloat));
  result.complete = deflation.complete();
  result.evidence["slack"] = deflation.polytope().slack();
  result.evidence["fewest_active_bounds"] = deflation.fewest_active();
  if (result.claim.images.size(0) > 0) return result;
  result.claim = {};
  if (job.progress.out_of_time()) {
    result.status = Status::inconclusive;
    result.reason = "there was no time for the linear programmes";
  } else {
    result.status = Status::not_applicable;
    result.reason = fmt::format(
        "linear programmes along random directions in {} dimensions ended at no vertex whose bounds agree: the images "
        "may have too few pixels at a bound, or be too many for random directions",
        deflation.rank());
  }
  return result;
}

}  // namespace

Attack vertices_attack() {
  Attack attack;
  attack.name = "vertices";
  attack.description = "exact training images where the row space of the first layer's change meets the pixel range";
  attack.needs = "initial and trained first-layer weights, the mean that was subtracted, the pixel range";
  attack.does_not_apply = "where span counts no images; images with few pixels at black or white";
  attack.options = {{"directions",
                     "random directions at most; the search ends earlier when they no longer lead to new images", "400",
                     "INTEGER"}};
  attack.configure = configured_by(parse, estimate, run);
  return attack;
}

}  // namespace afterimage
