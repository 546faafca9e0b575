#include "attacks/solver/frank_wolfe.h"

#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "attacks/solver/adam.h"

namespace afterimage {
namespace {

constexpr std::int64_t probes = 200;
constexpr std::array ridges = {1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0};  // of the mean diagonal
constexpr double about_as_well = 1.1;
constexpr double initial_deviation = 0.3;  // of a climber's pixels from the mean image
constexpr double same_summit = 0.1;        // relative distance within which two summits are one
constexpr double same_support = 0.03;      // and two images of the support
constexpr double worth_adding = 0.3;       // of the highest summit
constexpr double worth_keeping = 0.1;      // of what the highest summit explains
constexpr double smallest_rate = 0.02;     // of the first one
constexpr double polished_rate = 1e-4;     // likewise, at the very end:
constexpr std::int64_t most_polishes = 5;  // slides in float64 at most,
constexpr double worth_polishing = 0.5;    // while each leaves less than this share of what the one before left;
constexpr double slower_polish = 0.1;      // of the rate, once a slide leaves more than that
constexpr double most_favoured = 10;       // and then images of little weight at so many times the others' rate
constexpr double ageing = 0.6;             // of an image's rate, each round
constexpr std::int64_t fewest_added = 30;  // at once; half of the support where that is more
constexpr std::int64_t patience = 8;       // rounds that may pass without a gain:
constexpr double gain = 0.5;               // half of what was left is explained,
constexpr double shrinkage = 0.95;         // or a twentieth of the support is gone
// A function made of this kernel and images is explained to this share long before all images are found: one that is
// not after so many rounds belongs to another kernel.
constexpr std::int64_t early = 6;
constexpr double explained_early = 0.3;
constexpr std::int64_t steps_a_solve = 5;
constexpr double smallest_slope = 1e-16;  // of r by a pixel: an image of little weight has small slopes

// From 1 to `last`.
double falling(std::int64_t step, std::int64_t steps, double last) {
  const double share = static_cast<double>(step) / static_cast<double>(steps);
  return share < 0.3 ? 1.0 : std::pow(last, (share - 0.3) / 0.7);
}

// Whether the last rounds came below `enough` of the least value before them.
bool gained(const std::vector<double>& rounds, double enough) {
  if (static_cast<std::int64_t>(rounds.size()) <= patience) return true;
  const auto recent = rounds.end() - patience;
  return *std::min_element(recent, rounds.end()) <= enough * *std::min_element(rounds.begin(), recent);
}

class Solver {
 public:
  Solver(const LearnedFunction& learned, const AnalyticNtk& kernel, const ImageSpace& space, const Tensor& start,
         const FrankWolfePlan& plan, Job& job)
      : learned_(learned),
        kernel_(kernel),
        plan_(plan),
        job_(job),
        lower_(space.lower()),
        upper_(space.upper()),
        width_(space.width()),
        probes_(random_images(probes).to(at::kDouble)),
        probe_values_(learned.values(probes_)) {
    result_.images = at::empty({0, learned.inputs()});
    result_.coefficients = at::empty({0, learned.outputs()}, at::kDouble);
    rates_ = at::empty({0, 1});
    if (start.defined() && start.size(0) > 0) {
      result_.images = start.to(at::kFloat).clone();
      rates_ = at::full({start.size(0), 1}, smallest_rate);
      solve();
    }
  }

  Measure run() {
    const double norm = probe_values_.square().mean().item<double>();
    if (const State kept = job_.state.take(); !kept.empty()) restore(kept);
    for (auto round = static_cast<std::int64_t>(supports_.size());
         round < plan_.rounds && !(round > 0 && job_.progress.out_of_time()); ++round) {
      if (round > 0 && job_.state.due()) job_.state.keep(state());
      job_.progress.stage(
          fmt::format("infinite-width: round {}, {} images{}", round + 1, result_.images.size(0),
                      result_.residuals.empty() ? "" : fmt::format(", {:.1e} left", result_.residuals.back())));
      const Summits found = summits();
      highest_ = found.highest;
      prune(highest_);
      add(found.images);
      slide(smallest_rate);
      result_.residuals.push_back(unexplained() / norm);
      supports_.push_back(result_.images.size(0));
      if (result_.residuals.back() < plan_.enough) break;
      if (round + 1 == early && result_.residuals.back() > explained_early) break;
      if (!gained(result_.residuals, gain) && !gained(supports_, shrinkage)) break;
    }
    polish(highest_);
    result_.residuals.push_back(unexplained() / norm);
    return std::move(result_);
  }

 private:
  // Between rounds.
  State state() const {
    return State()
        .set("images", result_.images)
        .set("rates", rates_)
        .set("ridge", ridge_)
        .set("highest", highest_)
        .set("residuals", result_.residuals)
        .set("supports", supports_)
        .set("iterations", result_.iterations)
        .set("random", job_.random.get_state());
  }

  void restore(const State& kept) {
    result_.images = kept.tensor("images");
    rates_ = kept.tensor("rates");
    ridge_ = kept.number("ridge");
    highest_ = kept.number("highest");
    result_.residuals = kept.numbers("residuals");
    supports_ = kept.numbers("supports");
    result_.iterations = kept.whole("iterations");
    job_.random.set_state(kept.tensor("random"));
    solve();
  }

  Tensor random_images(std::int64_t count) {
    Tensor images = at::randn({count, learned_.inputs()}, job_.random, at::kFloat).mul_(initial_deviation * width_);
    return into_range(images);
  }
  Tensor& into_range(Tensor& images) const {
    return at::clamp_out(images, images, lower_.to(images.scalar_type()), upper_.to(images.scalar_type()));
  }

  // Mean |r|^2 at the probes, in float64: near the end r is a small difference of large numbers.
  double unexplained() const { return unexplained(kernel_(probes_, result_.images.to(at::kDouble))); }
  // `at_probes`: the kernel of probes and support, which does not change with the coefficients.
  double unexplained(const Tensor& at_probes) const {
    return (probe_values_ - at::mm(at_probes, result_.coefficients)).square().mean().item<double>();
  }

  Tensor weights() const { return result_.coefficients.to(result_.images.scalar_type()); }

  // u - sum_j a_j k(x_j, .) at these images.
  Tensor left(const Tensor& images) const {
    const Tensor values = learned_.values(images);
    return result_.images.size(0) == 0 ? values : values - at::mm(kernel_(images, result_.images), weights());
  }

  // What is left of u at the images, and the gradient of its product with `along`.
  LearnedFunction::Sloped left_sloped(const Tensor& images, const Tensor& along) const {
    auto sloped = learned_.sloped(images, along);
    if (result_.images.size(0) > 0) {
      const auto explained = kernel_.product(images, result_.images, weights(), along);
      sloped.values.sub_(explained.values);
      sloped.gradient.sub_(explained.gradient);
    }
    return sloped;
  }

  struct Summits {
    Tensor images;
    double highest = 0;  // |r| / sqrt(k(x, x)): its square is what adding the image explains of ||r||^2
  };
  // Points that climb |r| / sqrt(k(x, x)) to where it is highest nearby, the highest first, each once.
  Summits summits() {
    Tensor points = random_images(plan_.climbers);
    Tensor along = left(points);
    along.div_(along.norm(2, 1, true).clamp_min(1e-30));
    Tensor heights;
    Adam adam(points, smallest_slope);
    for (std::int64_t step = 0; step < plan_.climb_steps; ++step) {
      auto sloped = left_sloped(points, along);
      const Tensor root = kernel_.diagonal(points).sqrt().unsqueeze(1);
      const Tensor height = (sloped.values * along).sum(1, true).div_(root);
      const Tensor gradient =
          (kernel_.diagonal_gradient(points) * (height / root / 2)).sub_(sloped.gradient).div_(root);
      along = sloped.values / sloped.values.norm(2, 1, true).clamp_min(1e-30);
      adam.step(points, gradient, plan_.climb_rate * width_ * falling(step, plan_.climb_steps, smallest_rate));
      into_range(points);
      heights = height.squeeze(1);
      ++result_.iterations;
      job_.progress.step(step + 1, plan_.climb_steps, "climbing");
    }
    const double highest = heights.max().item<double>();
    return {points.index_select(0, distinct(points, heights, worth_adding * highest, same_summit, result_.images)),
            highest};
  }

  // Rows of `images` in the order of their `worth` [n], down to `least`, without those that lie within `radius` times
  // their norm of one before them or of `others`.
  static Tensor distinct(const Tensor& images, const Tensor& worth, double least, double radius, const Tensor& others) {
    const Tensor order = at::argsort(worth, 0, /*descending=*/true);
    const Tensor among = at::cdist(images, images).to(at::kFloat),
                 norms = images.norm(2, 1).mul_(radius).to(at::kFloat);
    Tensor free = worth >= least;
    if (others.size(0) > 0) free.logical_and_(std::get<0>(at::cdist(images, others).min(1)) >= norms);
    const auto distance = among.accessor<float, 2>();
    const auto limit = norms.accessor<float, 1>();
    const auto ordered = order.accessor<std::int64_t, 1>();
    const auto is_free = free.accessor<bool, 1>();
    std::vector<std::int64_t> chosen;
    for (std::int64_t i = 0; i < order.numel(); ++i) {
      const std::int64_t row = ordered[i];
      if (is_free[row] && std::none_of(chosen.begin(), chosen.end(),
                                       [&](std::int64_t other) { return distance[row][other] < limit[row]; })) {
        chosen.push_back(row);
      }
    }
    return at::tensor(chosen, at::kLong);
  }

  void add(const Tensor& points) {
    const std::int64_t present = result_.images.size(0);
    const std::int64_t room = std::min(plan_.largest_support - present, std::max(fewest_added, present / 2));
    const Tensor fitting = points.narrow(0, 0, std::min(points.size(0), room));
    result_.images = at::cat({result_.images, fitting});
    rates_ = at::cat({rates_.mul_(ageing).clamp_min_(smallest_rate), at::ones({fitting.size(0), 1})});
    choose_ridge();
  }

  // (K + ridge) a = u at the support. The kernel in float64: close images make it all but singular.
  void solve() {
    const Tensor images = result_.images.to(at::kDouble);
    solve(kernel_(images, images), learned_.values(images));
  }
  void solve(const Tensor& kernel, const Tensor& values) {
    Tensor ridged = kernel.clone();
    ridged.diagonal().add_(ridge_ * kernel.diagonal().mean().item<double>());
    factor_ = at::linalg_cholesky(ridged);
    result_.coefficients = at::cholesky_solve(values, factor_);
  }

  // The largest ridge that explains the learned function away from the support about as well as the best one. Where
  // values are exact that is the smallest; for a network of finite width it depends on how near its kernel is to the
  // analytic one.
  void choose_ridge() {
    const Tensor images = result_.images.to(at::kDouble);
    const Tensor kernel = kernel_(images, images), at_probes = kernel_(probes_, images);
    const Tensor values = learned_.values(images);
    double least = std::numeric_limits<double>::infinity(), best = ridges.front();
    for (const double candidate : ridges) {
      ridge_ = candidate;
      solve(kernel, values);
      const double left = unexplained(at_probes);
      if (left < about_as_well * least) best = candidate;
      least = std::min(least, left);
    }
    ridge_ = best;
    solve(kernel, values);
  }

  // By how much ||r||^2 would grow without an image, at the best coefficients of all others: a_j^2 / (K^-1)_jj.
  Tensor worths() const { return result_.coefficients.square().sum(1) / at::cholesky_inverse(factor_).diagonal(); }

  // All images together down the unexplained norm, their coefficients the best there are (variable projection).
  void slide(double last_rate) {
    Adam adam(result_.images, smallest_slope);
    for (std::int64_t step = 0; step < plan_.slide_steps; ++step) {
      const auto sloped = left_sloped(result_.images, weights());
      adam.step(result_.images, sloped.gradient.neg(),
                rates_ * (plan_.slide_rate * width_ * falling(step, plan_.slide_steps, last_rate)));
      into_range(result_.images);
      ++result_.iterations;
      job_.progress.step(step + 1, plan_.slide_steps, "sliding");
      if ((step + 1) % steps_a_solve == 0) solve();
    }
    solve();
  }

  // The last slides, in float64, for as long as they gain. All images at one rate first; then those of little weight
  // faster than the others, because what is left of those moves them for as long as it is there.
  void polish(double highest) {
    job_.progress.stage(fmt::format("infinite-width: {} images in float64", result_.images.size(0)));
    prune(highest);
    if (result_.images.size(0) == 0) {  // no summit was added, or none has finite coefficients
      result_.images = result_.images.to(at::kDouble);
      return;
    }
    choose_ridge();
    result_.images = result_.images.to(at::kDouble);
    const auto slide_while_it_gains = [&] {
      bool slower = false;
      for (std::int64_t slides = 0; slides < most_polishes && !job_.progress.out_of_time(); ++slides) {
        const double before = unexplained();
        const Tensor images = result_.images.clone();
        slide(polished_rate);
        const double after = unexplained();
        if (!(after <= before)) {
          result_.images = images;
          solve();
        }
        if (after <= worth_polishing * before) continue;
        if (std::exchange(slower, true)) break;
        rates_.mul_(slower_polish);
      }
    };
    slide_while_it_gains();
    prune(highest);
    const Tensor weight = result_.coefficients.norm(2, 1, true);
    rates_ = (weight.max() / weight.clamp_min(1e-30)).clamp_max(most_favoured).mul_(smallest_rate).to(at::kFloat);
    slide_while_it_gains();
    choose_ridge();
  }

  // Drops images that explain less than a new one would, and all but the worthiest of those that have become one. The
  // worthiest of all stays: images that are nearly alike explain little beside each other, and much together.
  void prune(double highest) {
    if (result_.images.size(0) == 0) return;
    const Tensor worth = worths();
    const double least = std::min(worth_keeping * highest * highest, worth.max().item<double>());
    const Tensor rows = distinct(result_.images, worth, least, same_support, result_.images.narrow(0, 0, 0));
    if (rows.numel() == result_.images.size(0)) return;
    result_.images = result_.images.index_select(0, rows);
    rates_ = rates_.index_select(0, rows);
    solve();
  }

  const LearnedFunction& learned_;
  const AnalyticNtk& kernel_;
  const FrankWolfePlan& plan_;
  Job& job_;
  Tensor lower_, upper_;
  double width_;  // of an image's range, in that of a pixel
  Tensor probes_, probe_values_;
  Tensor rates_;  // [M, 1], of the slide rate
  double ridge_ = ridges.front();
  double highest_ = 0;            // summit of the last round
  std::vector<double> supports_;  // images after each round
  Tensor factor_;                 // Cholesky, of K + ridge
  Measure result_;
};

}  // namespace

Measure frank_wolfe(const LearnedFunction& learned, const AnalyticNtk& kernel, const ImageSpace& space,
                    const Tensor& start, const FrankWolfePlan& plan, Job& job) {
  const c10::NoGradGuard no_gradients;
  return Solver(learned, kernel, space, start, plan, job).run();
}

}  // namespace afterimage
