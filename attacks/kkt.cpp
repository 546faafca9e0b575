#include "attacks/kkt.h"

#include <fmt/format.h>

#include <algorithm>

#include "attacks/solver/cost.h"
#include "attacks/solver/deflation.h"
#include "attacks/solver/dual_coefficients.h"
#include "attacks/solver/history.h"
#include "models/foundations/error.h"

namespace afterimage {
namespace {

constexpr std::int64_t candidates_without_rank = 100;
constexpr std::int64_t largest_count = 20000;
constexpr std::int64_t largest_projection = 4000;  // rows of the kernel that gives the claimed images' coefficients
constexpr double pixel_penalty = 0.1;              // of ||theta||^2, as the loss is
// The weights that training began with are noise in the row space of the trained ones: with more of it than this share
// of their squares, vertices are no longer images.
constexpr double largest_start = 0.01;
// That noise lets chance vertices rest on more bounds than where the start is known. Measured on MNIST (N = 100): below
// it 52 within relative L2 0.25 of an image and 2 further off, above it 7 and 47.
constexpr double kkt_leverage = 0.9;
// No training image has a smaller margin than the support vectors, which most of them are.
constexpr double least_margin = 0.8;  // of the confirmed images' median
// A network that is known to have kept this much of its start need not be tried.
constexpr double largest_known_start = 0.5;
// Above this share of the first layer's squares left unexplained, its images say nothing. A KKT point that is near
// leaves 0.1 at the training images.
constexpr double unexplained = 0.5;
constexpr std::int64_t round_steps = 500;
constexpr double worth_a_round = 0.05;  // newly confirmed, of what is known: with fewer, rounds end

// Multipliers are searched for in units of ||W_1||^2 / M, in which they are one over the margin on average: at a KKT
// point ||W_1||^2 = <W_1, sum_i lambda_i y_i phi_1(x_i)> = sum_i lambda_i margin_i, the outputs being homogeneous in
// W_1.
constexpr double initial_multiplier = 0.2;  // at most; a logistic loss of 1e-6 leaves margins of 14
constexpr double initial_pixel_deviation = 0.02;

struct Settings {
  std::string space;
  std::int64_t restarts, rounds;
  double least_multiplier;
  SearchPlan plan;
};

Settings parse(const OptionValues& options) {
  Settings settings{options.one_of("space", {"auto", "pixels", "span"}),
                    options.whole("restarts", 1, 1000),
                    options.whole("rounds", 0, 1000),
                    options.number("lambda-min", 0, 1000),
                    {}};
  settings.plan.steps = options.whole("steps", 1, 100'000'000);
  settings.plan.candidates = options.whole("candidates", 0, largest_count);
  settings.plan.image_rate = options.number("image-rate", 1e-9, 1e3);
  settings.plan.coefficient_rate = options.number("lambda-rate", 1e-9, 1e3);
  settings.plan.initial_coefficient = initial_multiplier;
  settings.plan.initial_pixel_deviation = initial_pixel_deviation;
  return settings;
}

double first_layer_norm(const DenseNetwork& network, const Parameters& parameters) {
  return parameters.at(network.first_weight()).square().sum().item<double>();
}

// Of the trained first layer's squares, those of the weights that training began with; zero where these are not known.
double share_of_start(const DenseNetwork& network, const TrainedNetwork& released) {
  if (!released.knows_initial()) return 0;
  return first_layer_norm(network, released.initial) / first_layer_norm(network, released.trained);
}

// The row space of the trained first layer itself, where that began so small that its start is but noise in it.
std::optional<RowSpan> own_span(const DenseNetwork& network, const Parameters& trained) {
  auto span = find_row_span(trained.at(network.first_weight())).span;
  if (!span) return std::nullopt;
  double start = 0, all = 0;
  for (std::size_t k = 0; k < span->singular_values.size(); ++k) {
    const double square = span->singular_values[k] * span->singular_values[k];
    all += square;
    if (static_cast<std::int64_t>(k) >= span->rank) start += square;
  }
  return start < largest_start * all ? span : std::nullopt;
}

// By how much the largest output exceeds the next, or one output zero, [n].
Tensor margins(const Network& network, const Parameters& trained, const Tensor& images) {
  const Tensor outputs = network.evaluate(trained, images);
  if (outputs.size(1) == 1) return outputs.abs().squeeze(1);
  const Tensor largest = std::get<0>(outputs.topk(2, 1));
  return largest.select(1, 0) - largest.select(1, 1);
}

class Search {
 public:
  // The network of the subject has to be dense.
  Search(const Subject& subject, const Settings& settings, const std::optional<RowSpan>& span, Generator& random,
         Progress& progress, StateStore& store)
      : subject_(subject),
        network_(*std::get<TrainedNetwork>(subject.released).dense()),
        parameters_(std::get<TrainedNetwork>(subject.released).trained),
        settings_(settings),
        in_span_(span && settings.space != "pixels"),
        basis_(in_span_ ? span->basis.to(at::kFloat) : Tensor()),
        norm_(parameters_.squared_norm()),
        bounds_(subject.space, basis_, pixel_penalty * norm_),
        target_(network_.tangents_at({parameters_}, parameters_, basis_)),
        random_(random),
        progress_(progress),
        store_(store) {
    if (in_span_ && settings.rounds > 0 && span->rank <= largest_rank) {
      deflation_.emplace(subject, *span, kkt_leverage);
    }
    plan_ = settings.plan;
    if (plan_.candidates == 0) plan_.candidates = in_span_ ? 2 * (span->rank + 1) : candidates_without_rank;
  }

  Reconstruction run() {
    kept_ = store_.take();
    if (!kept_.empty()) restore(kept_, history_, random_, deflation_);
    if (deflation_) {
      rounds();
    } else {
      restarts();
    }
    return conclude();
  }

 private:
  std::int64_t known() const { return deflation_ ? deflation_->found() : 0; }

  SearchResult search_with(const SearchPlan& plan) {
    const double count = static_cast<double>(plan.candidates);
    DualCoefficients lambda(
        network_, parameters_, bounds_, shared_labels(plan.candidates, network_.outputs()),
        {first_layer_norm(network_, parameters_), settings_.least_multiplier / count, norm_ * count});
    StageStore store(store_, state_of(history_, random_, deflation_), "search",
                     std::exchange(kept_, {}).part("search"));
    SearchResult found = search(*target_, bounds_, subject_.space.dimension(), plan, lambda, random_, progress_, store);
    history_.add(found);
    return found;
  }

  void restarts() {
    for (; history_.restarts < settings_.restarts && !(history_.best && progress_.out_of_time()); ++history_.restarts) {
      progress_.stage(fmt::format("kkt: search {} of {}, {} candidates in {}", history_.restarts + 1,
                                  settings_.restarts, plan_.candidates, in_span_ ? "the span" : "pixels"));
      history_.keep_if_better(search_with(plan_));
    }
  }

  void rounds() {
    while (history_.rounds() < settings_.rounds && deflation_->missing() > 0 &&
           !(history_.best && progress_.out_of_time())) {
      progress_.stage(fmt::format("kkt: round {}, {} known, searching for {}", history_.rounds() + 1, known(),
                                  deflation_->missing()));
      SearchPlan plan = plan_;
      plan.until_settled = false;
      plan.steps = std::min(round_steps, plan_.steps);
      if (known() > 0) {
        plan.candidates = 3 * deflation_->missing() + 5;
        target_->hold(deflation_->known().to(at::kFloat));
      }
      history_.best = search_with(plan);
      const std::int64_t before = known();
      NullStore no_store;
      deflation_->offer(by_weight(*history_.best), progress_, no_store);
      keep_what_has_the_margin();
      history_.found_by_round.push_back(known() - before);
      if (static_cast<double>(known() - before) <= worth_a_round * static_cast<double>(before)) break;
    }
  }

  void keep_what_has_the_margin() {
    if (known() == 0) return;
    const Tensor margin = margins(network_, parameters_, deflation_->known_images());
    deflation_->retain(margin > least_margin * margin.median());
  }

  Reconstruction conclude() {
    claim();
    history_.tell(result_);
    result_.loss_final = history_.best->loss_final;
    result_.relative_loss = *result_.loss_final / norm_;
    const double share = first_layer_unexplained();
    result_.evidence["candidates"] = plan_.candidates;
    result_.evidence["space"] = in_span_ ? "span" : "pixels";
    if (in_span_) result_.evidence["rank"] = basis_.size(0);
    if (deflation_) result_.evidence["confirmed_by_round"] = history_.found_by_round;
    result_.evidence["first_layer_unexplained"] = share;
    if (!subject_.loss) result_.evidence["loss"] = "not known: taken for logistic or cross-entropy";
    if (!(share < unexplained)) {
      result_.status = Status::inconclusive;
      result_.reason = fmt::format(
          "{:.0f} % of the first layer is no sum of the candidates' gradients: training ended far from a KKT point, as "
          "it does from large initial weights or before the loss is very small, or its images are too many",
          100 * share);
    }
    return std::move(result_);
  }

  // What is known, then what may be, then what the last search came to, the heaviest first.
  void claim() {
    const Tensor searched = bounds_.to_images(by_weight(*history_.best).to(at::kFloat));
    if (deflation_) {
      result_.complete = deflation_->missing() == 0;
      result_.claim = deflation_->claim(searched);
    } else {
      result_.claim.images = searched;
    }
  }

  // The share of ||W_1||^2 that the claimed images leave at their best coefficients. Of the other layers, large random
  // weights are left that training began with and never outgrew.
  double first_layer_unexplained() {
    const Tensor& all = result_.claim.images;
    const Tensor images =
        all.narrow(0, 0, std::min(all.size(0), std::max(largest_projection / network_.outputs(), std::int64_t{1})));
    if (!at::isfinite(images).all().item<bool>()) return 1;
    const Parameters trained = parameters_.to(at::kDouble);
    const Tensor coefficients =
        project(*network_.tangents_at({trained}, trained), images.to(at::kDouble), {}).coefficients;
    if (images.size(0) == all.size(0)) result_.coefficients = coefficients.to(at::kFloat);
    const Parameters rest =
        trained.minus(network_.pullback(trained, images.to(at::kDouble), [&](const Tensor&) { return coefficients; }));
    return first_layer_norm(network_, rest) / first_layer_norm(network_, trained);
  }

  const Subject& subject_;
  const DenseNetwork& network_;
  const Parameters& parameters_;  // trained
  const Settings& settings_;
  bool in_span_;
  Tensor basis_;
  double norm_;
  PixelBounds bounds_;
  std::unique_ptr<TangentTarget> target_;
  Generator& random_;
  Progress& progress_;
  StateStore& store_;
  State kept_;  // of an interrupted run, until it is taken up
  SearchPlan plan_;
  std::optional<Deflation> deflation_;
  SearchHistory history_;
  Reconstruction result_;
};

}  // namespace

std::vector<OptionSpec> Kkt::options() const {
  return {{"space", "where to search: pixels, span (of the first layer), or auto (span where there is one)", "auto"},
          {"candidates",
           "images to search with, an equal share for each class; 0: two for each training image that the "
           "span counts, or 100 without one",
           "0"},
          {"steps", "Adam steps a search; in rounds, 500 at most", "2500"},
          {"rounds",
           "searches in the span at most, each followed by what leads its candidates to exact images; 0: one search "
           "and no programmes",
           "12"},
          {"image-rate", "Adam's step of the images, in pixel units", "0.05"},
          {"lambda-rate", "Adam's step of the multipliers, in squared norms of the first layer over the candidates",
           "0.003"},
          {"lambda-min", "least multiplier before a penalty sets in, in the same units", "0.02"},
          {"restarts",
           "searches from different random images, of which the one that explains most is kept; not in rounds", "1"}};
}

void Kkt::validate(const OptionValues& options) const { static_cast<void>(parse(options)); }

Estimate Kkt::estimate(const Subject& subject, std::int64_t images, const OptionValues& options) const {
  const Settings settings = parse(options);
  if (subject.loss == LossKind::squared) return {};
  const Sizes sizes = sizes_of(std::get<TrainedNetwork>(subject.released));
  const auto count = static_cast<double>(images);
  const bool in_span = settings.space != "pixels" && images <= largest_rank && settings.rounds > 0;
  const double candidates =
      settings.plan.candidates > 0 ? static_cast<double>(settings.plan.candidates) : 2 * count + 2;
  constexpr double usual_rounds = 3;
  const double steps = in_span ? usual_rounds * static_cast<double>(std::min(round_steps, settings.plan.steps))
                               : static_cast<double>(settings.plan.steps * settings.restarts);
  Estimate estimate = cost_of_span(sizes) + cost_of_search(sizes, candidates, 1, in_span ? count : sizes.pixels, steps);
  if (in_span) estimate.programme_seconds = seconds_of_snaps(usual_rounds * count, count);
  return estimate;
}

Reconstruction Kkt::run(const Subject& subject, const HandOver& hand_over, const OptionValues& options,
                        Generator& random, Progress& progress, StateStore& store) const {
  const Settings settings = parse(options);
  if (subject.loss == LossKind::squared) {
    return not_applicable(
        "the network was trained on the squared loss, which does not lead to a KKT point of margin maximisation");
  }
  if (hand_over.complete) {
    return not_applicable("every image that the row space counts is confirmed already: nothing is left to find");
  }
  const auto& released = std::get<TrainedNetwork>(subject.released);
  const DenseNetwork* dense = released.dense();
  if (dense == nullptr) return not_applicable("the first layer is not dense");
  if (const double start = share_of_start(*dense, released); start > largest_known_start) {
    return not_applicable(fmt::format(
        "the weights that training began with are {:.0f} % of the first layer's squares still: it is far from a KKT "
        "point, where it would be a sum of gradients alone",
        100 * start));
  }
  progress.stage("kkt: row space of the first layer");
  const auto span = own_span(*dense, released.trained);
  if (settings.space == "span" && !span) {
    return not_applicable(
        "--space span: the first layer has no row space that stands out from the weights it began with; use --space "
        "pixels");
  }
  return Search(subject, settings, span, random, progress, store).run();
}

}  // namespace afterimage
