#include "attacks/finite_width.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "attacks/solver/capacity.h"
#include "attacks/solver/cost.h"
#include "attacks/solver/limits.h"
#include "attacks/solver/path_points.h"
#include "attacks/solver/rounds.h"
#include "attacks/solver/sampled_tangents.h"
#include "attacks/solver/smooth_bounds.h"
#include "models/tangent/flow.h"

namespace afterimage {
namespace {

constexpr std::int64_t fewest_candidates = 4;
// Where no row space narrows the search, many images explain the parameters' change: total variation selects the
// pictures among them, and allows long steps. Of 4 colour images behind convolutions 4 came back where of 2 none had
// (tests/benchmarks/colour_network.py), of 20 after training with Adam 20 where 1 had (tests/benchmarks/hard_cases.py).
constexpr double dense_smoothness = 0.5, other_smoothness = 0.2, smooth_image_rate = 0.1;
// Rounds of deflation (docs/methods.md, section 3): many short ones beat one long search.
constexpr std::int64_t round_steps = 150;
// Where the last hidden layer is wide, the searches of a round take a part of its neurons at a time, and more steps.
// MNIST, N = 200, one core, found in the first round: at width 1024 45 in 45 s, where all neurons gave 30 in 130 s; at
// width 2048, 102 in 85 s where it was 45 in 300 s; at width 512, a half at a time, 23 where it was 15, and 104 after
// 300 s where it was 92 after 600. There a part has 3.3 equations for each unknown, fewer were not tried.
constexpr std::int64_t sampled_share = 4, fewest_sampled = 256, sampled_round_steps = 400, equations_an_unknown = 3;
// The search for what the rounds left then takes more steps too. Fashion-MNIST, N = 200, width 1024, images with a
// candidate within relative L2 0.3: none after 400 steps, 65 after 2000, 114 after 5000.
constexpr std::int64_t sampled_steps_a_step = 2;
constexpr double later_coefficient_rate = 1e-4, later_initial_coefficient = 0.15;
constexpr std::int64_t most_fruitless = 2;
constexpr double worth_more_rounds = 0.05;  // found by the search for the rest, of what was missing
constexpr std::int64_t rest_steps = 1000;   // of all parameters, for what the rounds left, beside what is held
constexpr std::int64_t most_directions = 400;
// For estimates: seen over N = 20 to 200.
constexpr double usual_rounds = 2, usual_rounds_an_image = 0.05, usual_vertices = 1.5;
constexpr double tensors_of_path = 17;  // of the parameters' size, while a path is followed
constexpr double copies_of_held = 4;    // kernels of its rows, in float64
// That the trained network fits a candidate is no confirmation: of 6 that a small convolutional network fitted, 1 was
// right.
constexpr const char* nothing_to_confirm_by =
    "none: without linear programmes in the first layer's row space, nothing distinguishes a right image from others "
    "that the network fits";

struct Settings {
  SearchSettings search;
  std::vector<double> points;
  at::ScalarType dtype;
  std::optional<double> smoothness;  // null: auto
};

Settings parse(const OptionValues& options) {
  const bool is_double = options.one_of("dtype", {"float32", "float64"}) == "float64";
  Settings settings{
      SearchSettings(options), options.numbers("tangents", 0, 1), is_double ? at::kDouble : at::kFloat, {}};
  if (options.text("smoothness") != "auto") settings.smoothness = options.number("smoothness", 0, 1e6);
  return settings;
}

// The weight of total variation in a search over pixels; 0: none, as where no pixel has one beside or below it.
double smoothness_of(const Subject& subject, const TrainedNetwork& released, const Settings& settings) {
  const auto& shape = subject.space.shape;
  if (!subject.space.is_picture() || shape[0] < 2 || shape[1] < 2) return 0;
  return settings.smoothness.value_or(released.dense() != nullptr ? dense_smoothness : other_smoothness);
}

// Two for each image that the row space counts; without one, half as many as the parameters can determine: with more,
// some explain what the images do not.
std::int64_t candidates_of(const TrainedNetwork& released, const Settings& settings, std::optional<std::int64_t> rank) {
  if (settings.search.plan.candidates > 0) return settings.search.plan.candidates;
  if (rank) return 2 * (*rank + 1);
  return static_cast<std::int64_t>(
      std::clamp<double>(capacity_of(released).images() / 2, fewest_candidates, candidates_without_rank));
}

// Neurons of the last hidden layer whose features a round's searches for `images` take at a time; 0: all parameters'.
// Not where they have too few equations, or where some parameters did not change, as in a network without biases. The
// network has to be dense.
std::int64_t sampled_neurons(const TrainedNetwork& released, std::int64_t images) {
  const auto [all, inputs, is_first] = released.dense()->last_hidden_layer();
  const std::int64_t neurons = std::max(all / sampled_share, fewest_sampled);
  const std::int64_t features = points_of_path * released.network->outputs();
  const std::int64_t seen = is_first ? std::min(inputs, images) : inputs;  // in the span
  const bool enough = neurons * seen >= equations_an_unknown * images * (images + features);
  return all < 2 * neurons || !enough || released.some_unchanged() ? 0 : neurons;
}

// Of the products of a step with all parameters.
double sampled_products(const TrainedNetwork& released, std::int64_t neurons) {
  const auto [all, inputs, is_first] = released.dense()->last_hidden_layer();
  const double left_out = static_cast<double>((all - neurons) * (inputs + released.network->outputs()));
  return 1 - left_out / static_cast<double>(released.trained.count());
}

std::uint64_t any_seed(Generator& random) {
  constexpr std::int64_t largest = std::int64_t{1} << 62;
  return static_cast<std::uint64_t>(at::randint(largest, {1}, random, at::kLong).item<std::int64_t>());
}

// With weight decay every parameter that is trained shrinks by the same factor; what is left is the sum of gradients.
Parameters decayed(const TrainedNetwork& released, double factor) {
  if (std::abs(factor - 1) < 1e-6) return released.initial;
  std::vector<Parameters::Entry> entries = released.initial.entries();
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (!at::equal(entries[i].second, released.trained[i])) entries[i].second = entries[i].second * factor;
  }
  return Parameters(std::move(entries));
}

// theta_f - factor theta_0, subtracted in the wider dtype of the weights' own and `dtype`.
Parameters change_of(const TrainedNetwork& released, double factor, at::ScalarType dtype) {
  const auto wide = at::promote_types(released.trained.dtype(), dtype);
  return released.trained.to(wide).minus(decayed(released, factor).to(wide));
}

// Rates and initial coefficients of the search are those of changes that float32 holds; a smaller one, of weights in
// float64, is scaled up to them: a change that is small to first order has coefficients in proportion.
double gain_of(const TrainedNetwork& released) {
  constexpr double usual_change = 1e-2;  // of the parameters' norm
  if (released.trained.dtype() != at::kDouble || released.hidden_by_float32().empty()) return 1;
  return usual_change / released.relative_change();
}

// The search of one subject.
class TangentSearch final : public Proposer {
 public:
  TangentSearch(const Subject& subject, const Settings& settings, const std::optional<RowSpan>& span, Job& job)
      : subject_(subject),
        released_(std::get<TrainedNetwork>(subject.released)),
        settings_(settings),
        job_(job),
        rounds_("finite-width", subject, settings.search, span, job),
        initial_(decayed(released_, span ? span->decay : 1).to(settings.dtype)),
        trained_(released_.trained.to(settings.dtype)),
        gain_(gain_of(released_)),
        drift_(change_of(released_, span ? span->decay : 1, settings.dtype).times(gain_).to(settings.dtype)),
        points_(points_between(initial_, trained_, settings.points)),
        plan_(settings.search.plan) {
    if (rounds_.deflation() != nullptr) {
      neurons_ = sampled_neurons(released_, span->rank + 1);
      if (neurons_ > 0) seed_of_samples_ = any_seed(job.random);
    }
    plan_.candidates = candidates_of(released_, settings, span ? std::optional(span->rank) : std::nullopt);
    const ImageSpace space = subject.space.to(settings.dtype);
    const double smoothness = rounds_.in_span() ? 0 : smoothness_of(subject, released_, settings);
    if (smoothness > 0) {
      plan_.image_rate = smooth_image_rate;
      bounds_ = std::make_unique<SmoothBounds>(space, pixel_penalty, smoothness, drift_.squared_norm());
    } else {
      bounds_ = std::make_unique<PixelBounds>(space, rounds_.basis(), pixel_penalty);
    }
  }

  Reconstruction run(const HandOver& hand_over) {
    if (rounds_.deflation() != nullptr) rounds_.deflation()->accept(hand_over.confirmed);
    rounds_.resume();
    do {
      follow_path();
      if (rounds_.deflation() != nullptr) rounds_.run(*this);
    } while (something_is_missing() && search_for_the_rest());
    if (rounds_.all_found()) history().best.reset();  // of a search before the last was found
    return conclude();
  }

 private:
  SearchHistory& history() { return rounds_.history(); }
  const SearchHistory& history() const { return rounds_.history(); }
  bool holds_known() const { return rounds_.known() > 0 && held_points(released_, rounds_.known()) > 0; }

  // The tangent features at the present points, in the span's coordinates where the search is in the span.
  std::unique_ptr<TangentTarget> tangents() const {
    return rounds_.in_span() ? released_.dense()->tangents_at(points_, drift_, rounds_.basis())
                             : released_.network->tangents_at(points_, drift_);
  }

  // The same, with what is known held.
  std::unique_ptr<TangentTarget> target() const { return holding_known(tangents()); }

  // Likewise, for a search: of a part of the neurons, where that is enough.
  std::unique_ptr<TangentTarget> target_of_search() const {
    if (neurons_ == 0) return target();
    // Each round's draws have seeds of their own (a search of many thousand steps may reach those of the next).
    const auto seed = seed_of_samples_ + static_cast<std::uint64_t>(history().rounds() * sampled_round_steps);
    return holding_known(
        std::make_unique<SampledTangents>(*released_.dense(), points_, drift_, rounds_.basis(), neurons_, seed));
  }

  std::unique_ptr<TangentTarget> holding_known(std::unique_ptr<TangentTarget> tangents) const {
    if (holds_known()) tangents->hold(rounds_.deflation()->known().to(settings_.dtype));
    return tangents;
  }

  SearchResult search_with(TangentTarget& target, const SearchPlan& plan, Job& job) const {
    return search(target, *bounds_, subject_.space.dimension(), plan, job);
  }

  bool begins_round() const override {
    return history().fruitless_rounds() < most_fruitless && !job_.progress.out_of_time();
  }

  SearchResult propose(Job& job) override { return search_with(*target_of_search(), plan_of_round(), job); }

  // What is confirmed is held from then on, and shows where the path went.
  bool review(std::int64_t) override {
    rounds_.deflation()->sweep(most_directions, job_.random, job_.progress);
    if (!holds_known()) return false;
    follow_path();  // even where nothing new is known: a run that is resumed here follows what is known too
    return true;
  }

  SearchPlan plan_of_round() const {
    SearchPlan plan = Rounds::plan_of_round(plan_, neurons_ > 0 ? sampled_round_steps : round_steps);
    if (holds_known()) {
      plan.candidates = 3 * rounds_.missing() + 5;
      plan.coefficient_rate = later_coefficient_rate * static_cast<double>(plan.candidates);
      plan.initial_coefficient = later_initial_coefficient;
    }
    return plan;
  }

  void follow_path() {
    if (!holds_known()) return;
    points_ = path_points(subject_, initial_, trained_, rounds_.deflation()->known_images().to(settings_.dtype));
  }

  // And there is time to search for it, or there are no images to claim yet.
  bool something_is_missing() const {
    if (rounds_.all_found()) return false;
    return (rounds_.known() == 0 && !history().best) || !job_.progress.out_of_time();
  }

  // A long search for what the rounds left. Returns whether its candidates led to so many images that another series of
  // rounds is worth its time.
  bool search_for_the_rest() {
    if (!history().past_rounds) {
      history().best.reset();
      history().restarts = 0;
    }
    if (!rounds_.was_offering()) {
      const SearchPlan plan = plan_of_the_rest();
      const auto tangents = target_of_search();
      rounds_.restart(plan.candidates,
                      [&](Job& job) { return with_all_parameters(search_with(*tangents, plan, job)); });
    }
    if (rounds_.deflation() == nullptr) return false;
    const auto missing = static_cast<double>(rounds_.missing());
    const std::int64_t confirmed = rounds_.offer_best();
    if (confirmed > 0) history().found_by_round.push_back(confirmed);
    if (static_cast<double>(confirmed) <= worth_more_rounds * missing) return false;
    history().past_rounds = false;
    return true;
  }

  // Its loss as that of all parameters, where it was a part's.
  SearchResult with_all_parameters(SearchResult found) const {
    if (neurons_ > 0)
      found.loss_final = target()->loss(found.candidates, found.coefficients, Smoothing{plan_.beta_end}).value;
    return found;
  }

  SearchPlan plan_of_the_rest() const {
    SearchPlan plan = plan_;
    if (neurons_ > 0) plan.steps *= sampled_steps_a_step;
    if (holds_known()) {
      plan.candidates = 2 * rounds_.missing();
      if (neurons_ == 0) plan.steps = std::min(rest_steps, plan.steps);
    }
    return plan;
  }

  Reconstruction conclude() {
    Reconstruction result;
    const double norm = drift_.squared_norm();
    if (history().best) {
      result.loss_final = history().best->loss_final;
    } else if (holds_known()) {
      const Tensor known = rounds_.deflation()->known().to(settings_.dtype);
      result.loss_final = norm * project(*tangents(), known, {}).relative_residual;
    }
    if (result.loss_final) result.relative_loss = *result.loss_final / norm;
    claim(result);
    result.evidence["candidates"] = plan_.candidates;
    result.evidence["space"] = rounds_.in_span() ? "span" : "pixels";
    result.evidence["tangents"] = settings_.points;
    if (neurons_ > 0) result.evidence["neurons_at_a_time"] = neurons_;
    if (const auto line = released_.network->unsmoothed(); !line.empty()) result.evidence["unsmoothed"] = line;
    if (rounds_.deflation() != nullptr) {
      result.evidence["confirmed_by_round"] = history().found_by_round;
      result.evidence["slack"] = rounds_.deflation()->polytope().slack();
    }
    judge(result);
    for (auto* loss : {&result.loss_initial, &result.loss_final}) {
      if (*loss) **loss /= gain_ * gain_;
    }
    if (result.coefficients.defined()) result.coefficients = result.coefficients / gain_;
    return result;
  }

  void judge(Reconstruction& result) const {
    if (result.loss_final && !std::isfinite(*result.loss_final)) {
      result.status = Status::inconclusive;
      result.reason = "the search diverged: the loss of its candidates is not a number";
      result.loss_final.reset();
      result.relative_loss.reset();
    } else if (result.relative_loss && !(*result.relative_loss < most_unexplained)) {
      result.status = Status::inconclusive;
      const std::string hidden = gain_ == 1 ? released_.hidden_by_float32() : "";
      result.reason = fmt::format(
          "the candidates leave {:.0f} % of the parameters' change unexplained: {}", 100 * *result.relative_loss,
          hidden.empty() ? "training went too far from the tangent space for this attack, or its images are too many"
                         : hidden);
    } else if (history().best && !history().best->settled) {
      result.status = Status::inconclusive;
      result.reason =
          fmt::format("the loss was still falling after {} steps; give more --steps", history().best->iterations);
    }
  }

  // The known images, then the doubtful ones, then the candidates of the last search.
  void claim(Reconstruction& result) const {
    Tensor searched = history().best ? bounds_->to_images(history().best->candidates).to(at::kFloat)
                                     : at::zeros({0, released_.network->inputs()}, at::kFloat);
    searched = searched.index_select(0, at::nonzero(at::isfinite(searched).all(1)).squeeze(1));
    rounds_.claim(searched, result);
    if (rounds_.deflation() == nullptr) result.evidence["confirmation"] = nothing_to_confirm_by;
    if (result.claim.images.size(0) == 0) return;
    const auto tangents = released_.network->tangents_at(points_between(initial_, trained_, settings_.points), drift_);
    if (result.claim.images.size(0) * tangents->features_per_image() <= largest_projection) {
      result.coefficients = project(*tangents, result.claim.images.to(settings_.dtype), {}).coefficients.to(at::kFloat);
    }
  }

  const Subject& subject_;
  const TrainedNetwork& released_;
  const Settings& settings_;
  Job& job_;
  Rounds rounds_;
  Parameters initial_, trained_;
  double gain_;       // that the search sees the change of the parameters with
  Parameters drift_;  // gain_ times that change, before it is rounded to their dtype
  std::vector<Parameters> points_;
  SearchPlan plan_;
  std::unique_ptr<PixelBounds> bounds_;
  std::int64_t neurons_ = 0;  // of a round's searches; 0: all
  std::uint64_t seed_of_samples_ = 0;
};

Estimate estimate(const Settings& settings, const Subject& subject, std::int64_t images) {
  const SearchSettings& search = settings.search;
  const auto& released = std::get<TrainedNetwork>(subject.released);
  const Sizes sizes = sizes_of(released);
  if (released.dense() == nullptr) {
    const std::int64_t candidates = candidates_of(released, settings, std::nullopt);
    const auto steps = static_cast<double>(search.plan.steps * search.restarts);
    Estimate estimate = cost_of_search_by_autograd(subject, settings.points, candidates, steps, largest_projection);
    if (settings.dtype == at::kDouble) estimate.bytes *= 2;
    return estimate;
  }
  const auto count = static_cast<double>(images), points = static_cast<double>(settings.points.size());
  const double candidates = search.plan.candidates > 0 ? static_cast<double>(search.plan.candidates) : 2 * count + 2;
  const double width = settings.dtype == at::kDouble ? 2 : 1;
  Estimate estimate = cost_of_span(sizes);
  if (search.expects_rounds(images)) {
    // The first round, those after it with tangents at four points, and the flow of what is known between them.
    const double rounds = std::min(static_cast<double>(search.rounds), usual_rounds + count * usual_rounds_an_image);
    const std::int64_t neurons = sampled_neurons(released, images);
    const double steps =
        static_cast<double>(std::min(neurons > 0 ? sampled_round_steps : round_steps, search.plan.steps));
    const Estimate path = cost_of_path(sizes, count, static_cast<double>(FlowPlan{}.segments), tensors_of_path);
    const std::int64_t held = held_points(released, images) * images * released.network->outputs();
    Estimate searches = cost_of_search(sizes, candidates, points, count, steps) +
                        cost_of_search(sizes, candidates, points_of_path, count, steps * (rounds - 1));
    if (neurons > 0) searches.products *= sampled_products(released, neurons);
    searches.bytes += static_cast<double>(points_of_path) * path.bytes / tensors_of_path +
                      copies_of_held * static_cast<double>(sizeof(double) * held * held);
    estimate = estimate + searches + path;
    estimate.programme_seconds += seconds_of_snaps(rounds * usual_vertices * std::min(count, 100.0), count);
  } else {
    const double unknowns = search.space == "pixels" ? sizes.pixels : std::min(count, sizes.pixels);
    estimate = estimate + cost_of_search(sizes, candidates, points, unknowns,
                                         static_cast<double>(search.plan.steps * search.restarts));
  }
  estimate.bytes *= width;
  return estimate;
}

Reconstruction run(const Settings& settings, const Subject& subject, const HandOver& hand_over, Job& job) {
  const auto& released = std::get<TrainedNetwork>(subject.released);
  const Capacity capacity = capacity_of(released);
  if (capacity.last_layer_only) {
    return not_applicable(fmt::format(
        "{}: its {} numbers are a sum over the training images of what goes into it, and determine {} of {} "
        "pixels and a coefficient; no search is tried for so few",
        released.initial.size() <= 2 ? "the network is one layer" : "only the last layer was trained",
        capacity.equations, capacity.images_text(), released.network->inputs()));
  }
  job.progress.stage("finite-width: row space of the first layer's change");
  const auto span = row_span_of(released).span;
  if (settings.search.space == "span" && !span) {
    return not_applicable(
        "--space span: the first layer's change has no row space smaller than the pixels; use --space pixels");
  }
  if (job.progress.out_of_time()) return not_begun();
  Reconstruction found = TangentSearch(subject, settings, span, job).run(hand_over);
  found.evidence["images_that_parameters_determine"] = std::floor(capacity.images());
  return found;
}

}  // namespace

Attack finite_width_attack() {
  Attack attack;
  attack.name = "finite-width";
  attack.description = "reconstructs training images whose tangent features add up to the change of all parameters";
  attack.needs = "initial and trained parameters, architecture, the mean that was subtracted";
  attack.does_not_apply = "inconclusive where training left the tangent space so far that no images explain the change";
  attack.options = {
      {"tangents", "points of the segment from initial (0) to trained (1) parameters at which features are taken",
       "0,1", "NUMBER,..."},
      {"space", "where to search: pixels, span (of the first layer's change), or auto (span where there is one)",
       "auto", "auto|pixels|span"},
      {"candidates",
       "images to search with; 0: two for each training image that the span counts, without a span half as many as "
       "the parameters can determine",
       "0", "INTEGER"},
      {"steps", "Adam steps a restart; up to half as many more until the loss settles", "2500", "INTEGER"},
      {"rounds", "short searches in the span at most, each followed by linear programmes towards exact images; 0: none",
       "30", "INTEGER"},
      {"smoothness",
       "weight of the candidates' total variation in a search of pixels, where they are pictures, in units of the "
       "parameters' squared change; auto: 0.5 for dense networks, 0.2 for others",
       "auto", "NUMBER|auto"},
      {"restarts", "searches from different random images, of which the one that explains most is kept", "1",
       "INTEGER"},
      {"dtype", "float32 or float64", "float32", "float32|float64"}};
  attack.configure = configured_by(parse, estimate, run);
  return attack;
}

}  // namespace afterimage
