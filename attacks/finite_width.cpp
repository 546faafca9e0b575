#include "attacks/finite_width.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "attacks/solver/search.h"
#include "attacks/span.h"
#include "models/base/error.h"

namespace afterimage {
namespace {

// Candidates where no row space tells how many images there are.
constexpr std::int64_t candidates_without_rank = 100;
constexpr std::int64_t largest_count = 20000;
constexpr double pixel_penalty = 0.1;
// Above this share of ||h||^2 left unexplained, the features say nothing of the images.
constexpr double unexplained = 0.5;
// A network trained on the squared loss fits its training images: |f| is near 1 there. METHODS 1: all candidates with
// |f| > 0.75 and a norm that is not small were right.
constexpr double fit_tolerance = 0.25;
constexpr double least_relative_norm = 0.4;  // of the median candidate that fits

struct Settings {
  std::vector<double> points;
  std::string space;
  at::ScalarType dtype;
  std::int64_t restarts;
  SearchPlan plan;
};

Settings parse(const AttackOptions& options) {
  Settings settings{options.numbers("tangents", 0, 1),
                    options.one_of("space", {"auto", "pixels", "span"}),
                    options.one_of("dtype", {"float32", "float64"}) == "float64" ? at::kDouble : at::kFloat,
                    options.whole("restarts", 1, 1000),
                    {}};
  settings.plan.steps = options.whole("steps", 1, 100'000'000);
  settings.plan.candidates = options.whole("candidates", 0, largest_count);
  return settings;
}

std::optional<RowSpan> row_span(const Subject& subject) {
  const FirstLayer first = subject.network->first_layer();
  if (!first.dense) return std::nullopt;
  return find_row_span(subject.initial.at(first.weight), subject.trained.at(first.weight)).span;
}

// With weight decay every parameter shrinks by the same factor; what is left is the sum of gradients.
Parameters decayed(const Parameters& initial, double factor) {
  return std::abs(factor - 1) < 1e-6 ? initial : initial.times(factor);
}

// [M] bool: which candidates the trained network fits as it fits its training images. Undefined for other losses, whose
// outputs at training images have no known value.
Tensor confirm(const Subject& subject, const Tensor& images) {
  if (subject.loss != LossKind::squared) return {};
  const Tensor outputs = subject.network->evaluate(subject.trained, images);
  const Tensor fits = outputs.size(1) == 1 ? (outputs.abs() - 1).abs().squeeze(1) < fit_tolerance
                                           : ((outputs.amax(1) - 1).abs() < fit_tolerance)
                                                 .logical_and(outputs.abs().sum(1) - outputs.amax(1) < fit_tolerance);
  const Tensor norms = images.norm(2, 1);
  const Tensor fitting = norms.masked_select(fits);
  if (fitting.numel() == 0) return fits;
  return fits.logical_and(norms > least_relative_norm * fitting.median());
}

}  // namespace

std::vector<OptionSpec> FiniteWidth::options() const {
  return {{"tangents", "points of the segment from initial (0) to trained (1) parameters that features are taken at",
           "0,1"},
          {"space", "where to search: pixels, span (of the first layer's change), or auto (span where there is one)",
           "auto"},
          {"candidates", "images to search with; 0: two for each training image that the span counts", "0"},
          {"steps", "Adam steps a restart; up to half as many more until the loss settles", "2500"},
          {"restarts", "searches from different random images, of which the one that explains most is kept", "1"},
          {"dtype", "float32 or float64", "float32"}};
}

void FiniteWidth::validate(const AttackOptions& options) const { static_cast<void>(parse(options)); }

Reconstruction FiniteWidth::run(const Subject& subject, const AttackOptions& options, Generator& random,
                                Progress& progress) const {
  auto [points, space, dtype, restarts, plan] = parse(options);
  progress.stage("finite-width: row space of the first layer's change");
  const auto span = row_span(subject);
  Reconstruction result;
  if (space == "span" && !span) {
    result.conclusion = Conclusion::not_applicable;
    result.reason =
        "--space span: the first layer's change has no row space smaller than the pixels; use --space pixels";
    return result;
  }
  const bool in_span = span && space != "pixels";
  if (plan.candidates == 0) plan.candidates = span ? 2 * (span->rank + 1) : candidates_without_rank;

  const Tensor basis = in_span ? span->basis : Tensor();
  const Tensor mean = subject.bounds.mean.to(dtype);
  const Parameters initial = decayed(subject.initial, span ? span->decay : 1).to(dtype);
  const auto target = subject.network->tangents(initial, subject.trained.to(dtype), points, basis);
  PixelBounds bounds(mean, subject.bounds.low, subject.bounds.high, basis, pixel_penalty);

  std::optional<SearchResult> best;
  for (std::int64_t restart = 0; restart < restarts; ++restart) {
    progress.stage(fmt::format("finite-width: search {} of {}, {} candidates in {}", restart + 1, restarts,
                               plan.candidates, in_span ? "the span" : "pixels"));
    SearchResult found = search(*target, bounds, mean.size(0), plan, random, progress);
    result.iterations += found.iterations;
    if (!best || found.loss_final < best->loss_final) best = std::move(found);
  }

  const double norm = target->squared_norm();
  result.loss_initial = best->loss_initial;
  result.loss_final = best->loss_final;
  result.relative_loss = best->loss_final / norm;
  result.claim.images = bounds.to_images(best->candidates).to(at::kFloat);
  result.coefficients = best->coefficients.to(at::kFloat);
  result.claim.confirmed = confirm(subject, result.claim.images);
  result.evidence["candidates"] = plan.candidates;
  result.evidence["space"] = in_span ? "span" : "pixels";
  result.evidence["tangents"] = points;
  if (!(*result.relative_loss < unexplained)) {
    result.conclusion = Conclusion::inconclusive;
    result.reason = fmt::format(
        "the candidates leave {:.0f} % of the parameters' change unexplained: training went too far "
        "from the tangent space for this attack, or its images are too many",
        100 * *result.relative_loss);
  } else if (!best->settled) {
    result.conclusion = Conclusion::inconclusive;
    result.reason = fmt::format("the loss was still falling after {} steps; give more --steps", best->iterations);
  }
  return result;
}

}  // namespace afterimage
