#include "attacks/kkt.h"

#include <fmt/format.h>

#include <algorithm>

#include "attacks/solver/cost.h"
#include "attacks/solver/dual_coefficients.h"
#include "attacks/solver/limits.h"
#include "attacks/solver/rounds.h"

namespace afterimage {
namespace {

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
constexpr std::int64_t round_steps = 500;
constexpr double worth_a_round = 0.05;  // newly confirmed, of what is known: with fewer, rounds end

// Multipliers are searched for in units of ||W_1||^2 / M, in which they are one over the margin on average: at a KKT
// point ||W_1||^2 = <W_1, sum_i lambda_i y_i phi_1(x_i)> = sum_i lambda_i margin_i, the outputs being homogeneous in
// W_1.
constexpr double initial_multiplier = 0.2;  // at most; a logistic loss of 1e-6 leaves margins of 14
constexpr double initial_pixel_deviation = 0.02;

struct Settings {
  SearchSettings search;
  double least_multiplier;
};

Settings parse(const OptionValues& options) {
  Settings settings{SearchSettings(options), options.number("lambda-min", 0, 1000)};
  SearchPlan& plan = settings.search.plan;
  plan.image_rate = options.number("image-rate", 1e-9, 1e3);
  plan.coefficient_rate = options.number("lambda-rate", 1e-9, 1e3);
  plan.initial_coefficient = initial_multiplier;
  plan.initial_pixel_deviation = initial_pixel_deviation;
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

// The search of one subject, whose network has to be dense.
class KktSearch final : public Proposer {
 public:
  KktSearch(const Subject& subject, const Settings& settings, const std::optional<RowSpan>& span, Job& job)
      : subject_(subject),
        network_(*std::get<TrainedNetwork>(subject.released).dense()),
        parameters_(std::get<TrainedNetwork>(subject.released).trained),
        settings_(settings),
        job_(job),
        rounds_("kkt", subject, settings.search, span, job, kkt_leverage),
        basis_(rounds_.in_span() ? rounds_.basis().to(at::kFloat) : Tensor()),
        norm_(parameters_.squared_norm()),
        bounds_(subject.space, basis_, pixel_penalty * norm_),
        target_(network_.tangents_at({parameters_}, parameters_, basis_)),
        plan_(settings.search.plan) {
    if (plan_.candidates == 0) plan_.candidates = rounds_.in_span() ? 2 * (span->rank + 1) : candidates_without_rank;
  }

  Reconstruction run() {
    rounds_.resume();
    if (rounds_.deflation() != nullptr) {
      rounds_.run(*this);
    } else {
      rounds_.restart(plan_.candidates, [&](Job& job) { return search_with(plan_, job); });
    }
    return conclude();
  }

 private:
  SearchResult search_with(const SearchPlan& plan, Job& job) {
    const double count = static_cast<double>(plan.candidates);
    DualCoefficients lambda(
        network_, parameters_, bounds_, shared_labels(plan.candidates, network_.outputs()),
        {first_layer_norm(network_, parameters_), settings_.least_multiplier / count, norm_ * count});
    return search(*target_, bounds_, subject_.space.dimension(), plan, lambda, job);
  }

  bool begins_round() const override { return !(rounds_.history().best && job_.progress.out_of_time()); }

  SearchResult propose(Job& job) override {
    SearchPlan plan = Rounds::plan_of_round(plan_, round_steps);
    if (rounds_.known() > 0) {
      plan.candidates = 3 * rounds_.missing() + 5;
      target_->hold(rounds_.deflation()->known().to(at::kFloat));
    }
    rounds_.history().best = search_with(plan, job);
    return *rounds_.history().best;
  }

  bool review(std::int64_t known_before) override {
    if (rounds_.known() > 0) {
      const Tensor margin = margins(network_, parameters_, rounds_.deflation()->known_images());
      rounds_.deflation()->retain(margin > least_margin * margin.median());
    }
    const std::int64_t found = rounds_.known() - known_before;
    return static_cast<double>(found) > worth_a_round * static_cast<double>(known_before);
  }

  Reconstruction conclude() const {
    Reconstruction result;
    const SearchHistory& history = rounds_.history();
    rounds_.claim(bounds_.to_images(by_weight(*history.best).to(at::kFloat)), result);
    result.loss_final = history.best->loss_final;
    result.relative_loss = *result.loss_final / norm_;
    const double share = first_layer_unexplained(result);
    result.evidence["candidates"] = plan_.candidates;
    result.evidence["space"] = rounds_.in_span() ? "span" : "pixels";
    if (rounds_.in_span()) result.evidence["rank"] = basis_.size(0);
    if (rounds_.deflation() != nullptr) result.evidence["confirmed_by_round"] = history.found_by_round;
    result.evidence["first_layer_unexplained"] = share;
    if (!subject_.loss) result.evidence["loss"] = "not known: taken for logistic or cross-entropy";
    if (!(share < most_unexplained)) {
      result.status = Status::inconclusive;
      result.reason = fmt::format(
          "{:.0f} % of the first layer is no sum of the candidates' gradients: training ended far from a KKT point, as "
          "it does from large initial weights or before the loss is very small, or its images are too many",
          100 * share);
    }
    return result;
  }

  // The share of ||W_1||^2 that the claimed images leave unexplained at their best coefficients, which become the
  // result's. Of the other layers, large random weights are left that training began with and never outgrew.
  double first_layer_unexplained(Reconstruction& result) const {
    const Tensor& all = result.claim.images;
    const Tensor images =
        all.narrow(0, 0, std::min(all.size(0), std::max(largest_projection / network_.outputs(), std::int64_t{1})));
    if (!at::isfinite(images).all().item<bool>()) return 1;
    const Parameters trained = parameters_.to(at::kDouble);
    const Tensor coefficients =
        project(*network_.tangents_at({trained}, trained), images.to(at::kDouble), {}).coefficients;
    if (images.size(0) == all.size(0)) result.coefficients = coefficients.to(at::kFloat);
    const Parameters rest =
        trained.minus(network_.pullback(trained, images.to(at::kDouble), [&](const Tensor&) { return coefficients; }));
    return first_layer_norm(network_, rest) / first_layer_norm(network_, trained);
  }

  const Subject& subject_;
  const DenseNetwork& network_;
  const Parameters& parameters_;  // trained
  const Settings& settings_;
  Job& job_;
  Rounds rounds_;
  Tensor basis_;  // float32
  double norm_;
  PixelBounds bounds_;
  std::unique_ptr<TangentTarget> target_;
  SearchPlan plan_;
};

Estimate estimate(const Settings& settings, const Subject& subject, std::int64_t images) {
  const SearchSettings& search = settings.search;
  if (subject.loss == LossKind::squared) return {};
  const Sizes sizes = sizes_of(std::get<TrainedNetwork>(subject.released));
  const auto count = static_cast<double>(images);
  const bool in_span = search.expects_rounds(images);
  const double candidates = search.plan.candidates > 0 ? static_cast<double>(search.plan.candidates) : 2 * count + 2;
  constexpr double usual_rounds = 3;
  const double steps = in_span ? usual_rounds * static_cast<double>(std::min(round_steps, search.plan.steps))
                               : static_cast<double>(search.plan.steps * search.restarts);
  Estimate estimate = cost_of_span(sizes) + cost_of_search(sizes, candidates, 1, in_span ? count : sizes.pixels, steps);
  if (in_span) estimate.programme_seconds = seconds_of_snaps(usual_rounds * count, count);
  return estimate;
}

Reconstruction run(const Settings& settings, const Subject& subject, const HandOver& hand_over, Job& job) {
  if (subject.loss == LossKind::squared) {
    return not_applicable(
        "the network was trained on the squared loss, which does not lead to a KKT point of margin maximisation");
  }
  if (hand_over.complete) {
    return not_applicable("every image that the row space counts is confirmed already: nothing is left to find");
  }
  const auto& released = std::get<TrainedNetwork>(subject.released);
  const DenseNetwork* dense = released.dense();
  if (dense == nullptr) return not_applicable("the network is not read as dense ReLU layers");
  if (const double start = share_of_start(*dense, released); start > largest_known_start) {
    return not_applicable(fmt::format(
        "the weights that training began with are still {:.0f} % of the first layer's squares: it is far from a KKT "
        "point, where it would be a sum of gradients alone",
        100 * start));
  }
  job.progress.stage("kkt: row space of the first layer");
  const auto span = own_span(*dense, released.trained);
  if (settings.search.space == "span" && !span) {
    return not_applicable(
        "--space span: the first layer has no row space that stands out from the weights it began with; use --space "
        "pixels");
  }
  if (job.progress.out_of_time()) return not_begun();
  return KktSearch(subject, settings, span, job).run();
}

}  // namespace

Attack kkt_attack() {
  Attack attack;
  attack.name = "kkt";
  attack.description = "reconstructs training images whose gradients add up to the trained parameters themselves";
  attack.needs = "trained parameters, architecture, the mean that was subtracted; not the weights before training";
  attack.does_not_apply =
      "the squared loss; inconclusive where training ended far from a KKT point, as it does before the loss is very "
      "small or from large initial weights";
  attack.options = {
      {"space", "where to search: pixels, span (of the first layer), or auto (span where there is one)", "auto",
       "auto|pixels|span"},
      {"candidates",
       "images to search with, an equal share for each class; 0: two for each training image that the "
       "span counts, or 100 without one",
       "0", "INTEGER"},
      {"steps", "Adam steps a search; in rounds, 500 at most", "2500", "INTEGER"},
      {"rounds",
       "searches in the span at most, each followed by linear programmes towards exact images; 0: one search "
       "and no programmes",
       "12", "INTEGER"},
      {"image-rate", "Adam's step of the images, in pixel units", "0.05", "NUMBER"},
      {"lambda-rate", "Adam's step of the multipliers, in squared norms of the first layer over the candidates",
       "0.003", "NUMBER"},
      {"lambda-min", "least multiplier before a penalty sets in, in the same units", "0.02", "NUMBER"},
      {"restarts", "searches from different random images, of which the one that explains most is kept; not in rounds",
       "1", "INTEGER"}};
  attack.works_without_initial = true;
  attack.configure = configured_by(parse, estimate, run);
  return attack;
}

}  // namespace afterimage
