#include "attacks/finite_width.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "attacks/capacity.h"
#include "attacks/solver/cost.h"
#include "attacks/solver/deflation.h"
#include "attacks/solver/history.h"
#include "attacks/solver/path_points.h"
#include "attacks/solver/sampled_tangents.h"
#include "attacks/solver/smooth_bounds.h"
#include "models/foundations/error.h"
#include "models/tangent/flow.h"

namespace afterimage {
namespace {

// Candidates at most where no row space tells how many images there are.
constexpr std::int64_t candidates_without_rank = 100;
constexpr std::int64_t largest_count = 20000, fewest_candidates = 4;
constexpr double pixel_penalty = 0.1;
// Where no row space narrows the search, many images explain the parameters' change: total variation chooses the
// pictures among them, and lets steps be long. Of 4 colour images behind convolutions 4 came back where of 2 none had
// (tests/benchmarks/colour_network.py), of 20 after training with Adam 20 where 1 had (tests/benchmarks/hard_cases.py).
constexpr double dense_smoothness = 0.5, other_smoothness = 0.2, smooth_image_rate = 0.1;
// Above this share of ||h||^2 left unexplained, the features say nothing of the images.
constexpr double unexplained = 0.5;
// Rounds of deflation (docs/methods.md, section 3): many short ones beat one long search.
constexpr std::int64_t round_steps = 150;
// Where the last hidden layer is wide, the searches of a round take a part of its neurons at a time, and more steps.
// MNIST, N = 200, one core, found in the first round: at width 1024 45 in 45 s, where all neurons gave 30 in 130 s; at
// width 2048, 102 in 85 s where it was 45 in 300 s; at width 512, a half at a time, 23 where it was 15, and 104 after
// 300 s where it was 92 after 600. There a part has 3.3 equations for each unknown, fewer were not tried.
constexpr std::int64_t sampled_share = 4, fewest_sampled = 256, sampled_round_steps = 400, equations_an_unknown = 3;
// The search for what the rounds left then takes more steps too. Fashion-MNIST, N = 200, width 1024, images that a
// candidate is within relative L2 0.3 of: none after 400 steps, 65 after 2000, 114 after 5000.
constexpr std::int64_t sampled_steps_a_step = 2;
constexpr double later_coefficient_rate = 1e-4, later_initial_coefficient = 0.15;
constexpr std::int64_t most_fruitless = 2;
constexpr double worth_more_rounds = 0.05;  // found by the search for the rest, of what was missing
constexpr std::int64_t rest_steps = 1000;   // of all parameters, for what the rounds left, beside what is held
constexpr std::int64_t most_directions = 400;
// For estimates: seen over N = 20 to 200.
constexpr double usual_rounds = 2, usual_rounds_an_image = 0.05, usual_vertices = 1.5;
constexpr double tensors_of_path = 17;             // of the parameters' size, while a path is followed
constexpr std::int64_t largest_projection = 4000;  // rows of the kernel that gives the claimed images' coefficients
constexpr double copies_of_held = 4;               // kernels of its rows, in float64
// That the trained network fits a candidate is no confirmation: of 6 that a small convolutional network fitted, 1 was
// right.
constexpr const char* nothing_to_confirm_by =
    "none: without linear programmes in the first layer's row space, nothing tells a right image from others that the "
    "network fits";

struct Settings {
  std::vector<double> points;
  std::string space;
  at::ScalarType dtype;
  std::int64_t restarts, rounds;
  std::optional<double> smoothness;  // none: auto
  SearchPlan plan;
};

Settings parse(const OptionValues& options) {
  Settings settings{options.numbers("tangents", 0, 1),
                    options.one_of("space", {"auto", "pixels", "span"}),
                    options.one_of("dtype", {"float32", "float64"}) == "float64" ? at::kDouble : at::kFloat,
                    options.whole("restarts", 1, 1000),
                    options.whole("rounds", 0, 1000),
                    {},
                    {}};
  if (options.text("smoothness") != "auto") settings.smoothness = options.number("smoothness", 0, 1e6);
  settings.plan.steps = options.whole("steps", 1, 100'000'000);
  settings.plan.candidates = options.whole("candidates", 0, largest_count);
  return settings;
}

// The weight of total variation in a search of pixels; 0: none, as where nothing lies beside or below a pixel.
double smoothness_of(const Subject& subject, const TrainedNetwork& released, const Settings& settings) {
  const auto& shape = subject.space.shape;
  if (!subject.space.is_picture() || shape[0] < 2 || shape[1] < 2) return 0;
  return settings.smoothness.value_or(released.dense() != nullptr ? dense_smoothness : other_smoothness);
}

// Two for each image that the row space counts; without one, half as many as the parameters can determine: with more,
// some explain what the images do not.
std::int64_t candidates_of(const TrainedNetwork& released, const Settings& settings, std::optional<std::int64_t> rank) {
  if (settings.plan.candidates > 0) return settings.plan.candidates;
  if (rank) return 2 * (*rank + 1);
  return static_cast<std::int64_t>(
      std::clamp<double>(capacity_of(released).images() / 2, fewest_candidates, candidates_without_rank));
}

// Neurons of the last hidden layer whose features a round's searches for `images` take at a time; 0: all parameters'.
// Not where they have too few equations, or where some parameters stood still, as in a network without biases. The
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

class Search {
 public:
  Search(const Subject& subject, const Settings& settings, const std::optional<RowSpan>& span, Generator& random,
         Progress& progress, StateStore& store)
      : subject_(subject),
        released_(std::get<TrainedNetwork>(subject.released)),
        settings_(settings),
        in_span_(span && settings.space != "pixels"),
        basis_(in_span_ ? span->basis : Tensor()),
        initial_(decayed(released_, span ? span->decay : 1).to(settings.dtype)),
        trained_(released_.trained.to(settings.dtype)),
        random_(random),
        progress_(progress),
        store_(store) {
    if (in_span_ && settings.rounds > 0 && span->rank <= largest_rank) {
      deflation_.emplace(subject, *span);
      neurons_ = sampled_neurons(released_, span->rank + 1);
      if (neurons_ > 0) seed_of_samples_ = any_seed(random);
    }
    plan_ = settings.plan;
    plan_.candidates = candidates_of(released_, settings, span ? std::optional(span->rank) : std::nullopt);
    const ImageSpace space = subject.space.to(settings.dtype);
    const double smoothness = in_span_ ? 0 : smoothness_of(subject, released_, settings);
    if (smoothness > 0) {
      plan_.image_rate = smooth_image_rate;
      bounds_ =
          std::make_unique<SmoothBounds>(space, pixel_penalty, smoothness, trained_.minus(initial_).squared_norm());
    } else {
      bounds_ = std::make_unique<PixelBounds>(space, basis_, pixel_penalty);
    }
  }

  Reconstruction run(const HandOver& hand_over) {
    points_ = points_between(initial_, trained_, settings_.points);
    if (deflation_) deflation_->accept(hand_over.confirmed);
    kept_ = store_.take();
    if (!kept_.empty()) restore(kept_, history_, random_, deflation_);
    do {
      if (deflation_) rounds();
    } while (something_is_missing() && search_for_the_rest());
    if (deflation_ && deflation_->missing() == 0) history_.best.reset();  // of a search before the last was found
    return conclude();
  }

 private:
  // The tangent features at the present points, in the span's coordinates where the search is in the span.
  std::unique_ptr<TangentTarget> tangents() const {
    const Parameters drift = trained_.minus(initial_);
    return in_span_ ? released_.dense()->tangents_at(points_, drift, basis_)
                    : released_.network->tangents_at(points_, drift);
  }

  // The same, with what is known held.
  std::unique_ptr<TangentTarget> target() const { return holding_known(tangents()); }

  // Likewise, for a search: of a part of the neurons, where that is enough.
  std::unique_ptr<TangentTarget> target_of_search() const {
    if (neurons_ == 0) return target();
    // Each round's draws have seeds of their own (a search of many thousand steps may come to those of the next).
    const auto seed = seed_of_samples_ + static_cast<std::uint64_t>(history_.rounds() * sampled_round_steps);
    return holding_known(std::make_unique<SampledTangents>(*released_.dense(), points_, trained_.minus(initial_),
                                                           basis_, neurons_, seed));
  }

  std::unique_ptr<TangentTarget> holding_known(std::unique_ptr<TangentTarget> tangents) const {
    if (holds_known()) tangents->hold(deflation_->known().to(settings_.dtype));
    return tangents;
  }

  std::int64_t known() const { return deflation_ ? deflation_->found() : 0; }
  bool holds_known() const { return known() > 0 && held_points(released_, known()) > 0; }

  // And there is time to search for it, or nothing to show yet.
  bool something_is_missing() const {
    if (deflation_ && deflation_->missing() == 0) return false;
    return (known() == 0 && !history_.best) || !progress_.out_of_time();
  }

  SearchResult search_with(TangentTarget& target, const SearchPlan& plan) {
    StageStore store(store_, state_of(history_, random_, deflation_), "search",
                     std::exchange(kept_, {}).part("search"));
    SearchResult found = search(target, *bounds_, subject_.space.dimension(), plan, random_, progress_, store);
    history_.add(found);
    return found;
  }

  // Whether the interrupted run was past its search, among the candidates that it had come to.
  bool was_offering() const { return kept_.has("offered"); }

  std::int64_t offer(const Tensor& candidates) {
    StageStore store(store_, state_of(history_, random_, deflation_).set("offered", candidates), "offer",
                     std::exchange(kept_, {}).part("offer"));
    return deflation_->offer(candidates, progress_, store);
  }

  // Short searches, each followed by programmes towards what it came to; what is confirmed is held from then on, and
  // shows where the path went.
  void rounds() {
    follow_path();
    if (history_.restarts > 0) return;  // an interrupted run was past them
    while (history_.rounds() < settings_.rounds && deflation_->missing() > 0 &&
           history_.fruitless_rounds() < most_fruitless && !progress_.out_of_time()) {
      progress_.stage(fmt::format("finite-width: round {}, {} known, searching for {}", history_.rounds() + 1, known(),
                                  deflation_->missing()));
      std::int64_t confirmed = offer(was_offering() ? kept_.tensor("offered")
                                                    : by_weight(search_with(*target_of_search(), plan_of_round())));
      confirmed += deflation_->sweep(most_directions, random_, progress_);
      history_.found_by_round.push_back(confirmed);
      if (!holds_known()) break;
      follow_path();  // even where nothing new is known: a run that is resumed here follows what is known too
    }
  }

  SearchPlan plan_of_round() const {
    SearchPlan plan = plan_;
    plan.until_settled = false;
    plan.steps = std::min(neurons_ > 0 ? sampled_round_steps : round_steps, plan_.steps);
    if (holds_known()) {
      plan.candidates = 3 * deflation_->missing() + 5;
      plan.coefficient_rate = later_coefficient_rate * static_cast<double>(plan.candidates);
      plan.initial_coefficient = later_initial_coefficient;
    }
    return plan;
  }

  void follow_path() {
    if (!holds_known()) return;
    points_ = path_points(subject_, initial_, trained_, deflation_->known_images().to(settings_.dtype));
  }

  // A long search for what the rounds left. Returns whether its candidates led to so much that rounds can go on with
  // it.
  bool search_for_the_rest() {
    if (history_.restarts == 0) history_.best.reset();
    history_.restarts = std::max<std::int64_t>(history_.restarts, 1);
    if (!was_offering()) {
      const SearchPlan plan = plan_of_the_rest();
      const auto tangents = target_of_search();
      for (; history_.restarts <= settings_.restarts && !(history_.best && progress_.out_of_time());
           ++history_.restarts) {
        progress_.stage(fmt::format("finite-width: search {} of {}, {} candidates in {}", history_.restarts,
                                    settings_.restarts, plan.candidates, in_span_ ? "the span" : "pixels"));
        history_.keep_if_better(with_all_parameters(search_with(*tangents, plan)));
      }
    }
    if (!deflation_) return false;
    const auto missing = static_cast<double>(deflation_->missing());
    const std::int64_t confirmed = offer(by_weight(*history_.best));
    if (confirmed > 0) history_.found_by_round.push_back(confirmed);
    if (static_cast<double>(confirmed) <= worth_more_rounds * missing) return false;
    history_.restarts = 0;
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
      plan.candidates = 2 * deflation_->missing();
      if (neurons_ == 0) plan.steps = std::min(rest_steps, plan.steps);
    }
    return plan;
  }

  Reconstruction conclude() {
    const double norm = trained_.minus(initial_).squared_norm();
    history_.tell(result_);
    if (history_.best) {
      result_.loss_final = history_.best->loss_final;
    } else if (holds_known()) {
      result_.loss_final = norm * project(*tangents(), deflation_->known().to(settings_.dtype), {}).relative_residual;
    }
    if (result_.loss_final) result_.relative_loss = *result_.loss_final / norm;
    claim();
    result_.evidence["candidates"] = plan_.candidates;
    result_.evidence["space"] = in_span_ ? "span" : "pixels";
    result_.evidence["tangents"] = settings_.points;
    if (neurons_ > 0) result_.evidence["neurons_at_a_time"] = neurons_;
    if (const auto line = released_.network->unsmoothed(); !line.empty()) result_.evidence["unsmoothed"] = line;
    if (deflation_) {
      result_.evidence["confirmed_by_round"] = history_.found_by_round;
      result_.evidence["slack"] = deflation_->polytope().slack();
    }
    if (result_.loss_final && !std::isfinite(*result_.loss_final)) {
      result_.status = Status::inconclusive;
      result_.reason = "the search diverged: the loss of its candidates is not a number";
      result_.loss_final.reset();
      result_.relative_loss.reset();
    } else if (result_.relative_loss && !(*result_.relative_loss < unexplained)) {
      result_.status = Status::inconclusive;
      result_.reason = fmt::format(
          "the candidates leave {:.0f} % of the parameters' change unexplained: training went too far "
          "from the tangent space for this attack, or its images are too many",
          100 * *result_.relative_loss);
    } else if (history_.best && !history_.best->settled) {
      result_.status = Status::inconclusive;
      result_.reason =
          fmt::format("the loss was still falling after {} steps; give more --steps", history_.best->iterations);
    }
    return std::move(result_);
  }

  // What is known, then what may be, then what the last search came to.
  void claim() {
    Tensor searched = history_.best ? bounds_->to_images(history_.best->candidates).to(at::kFloat)
                                    : at::zeros({0, released_.network->inputs()}, at::kFloat);
    searched = searched.index_select(0, at::nonzero(at::isfinite(searched).all(1)).squeeze(1));
    if (deflation_) {
      result_.complete = deflation_->missing() == 0;
      result_.claim = deflation_->claim(searched);
    } else {
      result_.claim.images = searched;
      result_.evidence["confirmation"] = nothing_to_confirm_by;
    }
    if (result_.claim.images.size(0) == 0) return;
    const auto tangents = released_.network->tangents(initial_, trained_, settings_.points);
    if (result_.claim.images.size(0) * tangents->features_per_image() <= largest_projection) {
      result_.coefficients =
          project(*tangents, result_.claim.images.to(settings_.dtype), {}).coefficients.to(at::kFloat);
    }
  }

  const Subject& subject_;
  const TrainedNetwork& released_;
  const Settings& settings_;
  bool in_span_;
  Tensor basis_;
  Parameters initial_, trained_;
  std::unique_ptr<PixelBounds> bounds_;
  Generator& random_;
  Progress& progress_;
  StateStore& store_;
  std::int64_t neurons_ = 0;  // of a round's searches; 0: all
  std::uint64_t seed_of_samples_ = 0;
  State kept_;  // of an interrupted run, until it is taken up
  SearchPlan plan_;
  std::optional<Deflation> deflation_;
  std::vector<Parameters> points_;
  SearchHistory history_;
  Reconstruction result_;
};

}  // namespace

std::vector<OptionSpec> FiniteWidth::options() const {
  return {
      {"tangents", "points of the segment from initial (0) to trained (1) parameters that features are taken at",
       "0,1"},
      {"space", "where to search: pixels, span (of the first layer's change), or auto (span where there is one)",
       "auto"},
      {"candidates",
       "images to search with; 0: two for each training image that the span counts, without a span half as many as "
       "the parameters can determine",
       "0"},
      {"steps", "Adam steps a restart; up to half as many more until the loss settles", "2500"},
      {"rounds",
       "short searches in the span at most, each followed by what leads its candidates to exact images; 0: none", "30"},
      {"smoothness",
       "weight of the candidates' total variation in a search of pixels, where they are pictures, in units of the "
       "parameters' squared change; auto: 0.5 for dense networks, 0.2 for others",
       "auto"},
      {"restarts", "searches from different random images, of which the one that explains most is kept", "1"},
      {"dtype", "float32 or float64", "float32"}};
}

void FiniteWidth::validate(const OptionValues& options) const { static_cast<void>(parse(options)); }

Estimate FiniteWidth::estimate(const Subject& subject, std::int64_t images, const OptionValues& options) const {
  const Settings settings = parse(options);
  const auto& released = std::get<TrainedNetwork>(subject.released);
  const Sizes sizes = sizes_of(released);
  if (released.dense() == nullptr) {
    const std::int64_t candidates = candidates_of(released, settings, std::nullopt);
    const auto steps = static_cast<double>(settings.plan.steps * settings.restarts);
    Estimate estimate = cost_of_search_by_autograd(subject, settings.points, candidates, steps, largest_projection);
    if (settings.dtype == at::kDouble) estimate.bytes *= 2;
    return estimate;
  }
  const bool in_span = settings.space != "pixels" && images <= largest_rank && settings.rounds > 0;
  const auto count = static_cast<double>(images), points = static_cast<double>(settings.points.size());
  const double candidates =
      settings.plan.candidates > 0 ? static_cast<double>(settings.plan.candidates) : 2 * count + 2;
  const double width = settings.dtype == at::kDouble ? 2 : 1;
  Estimate estimate = cost_of_span(sizes);
  if (in_span) {
    // The first round, those after it with tangents at four points, and the flow of what is known between them.
    const double rounds = std::min(static_cast<double>(settings.rounds), usual_rounds + count * usual_rounds_an_image);
    const std::int64_t neurons = sampled_neurons(released, images);
    const double steps =
        static_cast<double>(std::min(neurons > 0 ? sampled_round_steps : round_steps, settings.plan.steps));
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
    const double unknowns = settings.space == "pixels" ? sizes.pixels : std::min(count, sizes.pixels);
    estimate = estimate + cost_of_search(sizes, candidates, points, unknowns,
                                         static_cast<double>(settings.plan.steps * settings.restarts));
  }
  estimate.bytes *= width;
  return estimate;
}

Reconstruction FiniteWidth::run(const Subject& subject, const HandOver& hand_over, const OptionValues& options,
                                Generator& random, Progress& progress, StateStore& store) const {
  const Settings settings = parse(options);
  const auto& released = std::get<TrainedNetwork>(subject.released);
  const Capacity capacity = capacity_of(released);
  if (capacity.last_layer_only) {
    return not_applicable(fmt::format(
        "only the last layer was trained: its {} numbers are a sum over the training images of what the layers below "
        "make of them, and determine at most {:.0f} images of {} pixels; the span probe says what they tell",
        capacity.equations, std::floor(capacity.images()), released.network->inputs()));
  }
  progress.stage("finite-width: row space of the first layer's change");
  const auto span = row_span_of(released).span;
  if (settings.space == "span" && !span) {
    return not_applicable(
        "--space span: the first layer's change has no row space smaller than the pixels; use --space pixels");
  }
  Reconstruction found = Search(subject, settings, span, random, progress, store).run(hand_over);
  found.evidence["images_that_parameters_determine"] = std::floor(capacity.images());
  return found;
}

}  // namespace afterimage
