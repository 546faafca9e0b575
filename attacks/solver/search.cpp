#include "attacks/solver/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "attacks/solver/adam.h"

namespace afterimage {
namespace {

constexpr std::int64_t window = 100;    // steps over which falling is judged
constexpr double still_falling = 0.01;  // relative fall over a window
constexpr double smallest_step = 0.05;
constexpr double longest = 1.5;  // of the planned steps, for a loss that has not settled by then

double annealed(double from, double to, double share) { return from + (to - from) * std::min(share, 1.0); }

// Full step size for the first 60 % of the planned steps, then down to a twentieth, where it stays.
double step_size(double share) { return std::clamp((1 - share) / 0.4, smallest_step, 1.0); }

}  // namespace

Tensor FreeCoefficients::initial(const TangentTarget& target, const SearchPlan& plan, Generator& random) const {
  return at::rand({plan.candidates, target.features_per_image()}, random, target.dtype())
      .sub_(0.5)
      .mul_(2 * plan.initial_coefficient / static_cast<double>(plan.candidates));
}

void FreeCoefficients::of(const Tensor&, const Tensor& searched, Tensor& coefficients) { coefficients.copy_(searched); }

void FreeCoefficients::pull_back(const Tensor&, const Tensor&, const Tensor& by_coefficients, Tensor& by_searched,
                                 Tensor&) {
  by_searched.copy_(by_coefficients);
}

SearchResult search(TangentTarget& target, PixelBounds& bounds, std::int64_t pixels, const SearchPlan& plan, Job& job) {
  FreeCoefficients free;
  return search(target, bounds, pixels, plan, free, job);
}

SearchResult search(TangentTarget& target, PixelBounds& bounds, std::int64_t pixels, const SearchPlan& plan,
                    Coefficients& coefficients, Job& job) {
  const auto options = at::TensorOptions().dtype(target.dtype());
  const double count = static_cast<double>(plan.candidates);
  const double norm = target.squared_norm();
  const State kept = job.state.take();
  SearchResult result;
  if (kept.empty()) {
    result.candidates = bounds
                            .from_images(at::randn({plan.candidates, pixels}, job.random, options)
                                             .mul_(plan.initial_pixel_deviation * bounds.width()))
                            .contiguous();
    result.searched = coefficients.initial(target, plan, job.random);
  } else {
    result.candidates = kept.tensor("candidates");
    result.searched = kept.tensor("searched");
  }
  result.coefficients = at::empty({plan.candidates, target.features_per_image()}, options);
  Adam images(result.candidates), searched(result.searched);
  std::vector<double> losses;
  if (!kept.empty()) {
    images.restore(kept.part("images"));
    searched.restore(kept.part("coefficients"));
    losses = kept.numbers("losses");
    job.random.set_state(kept.tensor("random"));
  }
  Tensor image_gradient = at::empty_like(result.candidates);
  Tensor searched_gradient = at::empty_like(result.searched);
  const auto keep = [&] {
    job.state.keep(State()
                       .set("candidates", result.candidates)
                       .set("searched", result.searched)
                       .set("images", images.state())
                       .set("coefficients", searched.state())
                       .set("losses", losses)
                       .set("random", job.random.get_state()));
  };

  const auto most_steps =
      static_cast<std::int64_t>((plan.until_settled ? longest : 1) * static_cast<double>(plan.steps));
  for (auto step = static_cast<std::int64_t>(losses.size()); step < most_steps; ++step) {
    if (job.state.due()) keep();
    target.begin_step(step);
    const double share = static_cast<double>(step) / static_cast<double>(plan.steps);
    const Smoothing relu{annealed(plan.beta_start, plan.beta_end, share)};
    coefficients.of(result.candidates, result.searched, result.coefficients);
    const auto& loss = target.loss(result.candidates, result.coefficients, relu);
    image_gradient.copy_(loss.by_images);
    coefficients.pull_back(result.candidates, result.searched, loss.by_coefficients, searched_gradient, image_gradient);
    bounds.add_gradient(result.candidates, 1, image_gradient);
    images.step(result.candidates, image_gradient.div_(norm), plan.image_rate * bounds.width() * step_size(share));
    bounds.restrain(result.candidates);
    searched.step(result.searched, searched_gradient.div_(norm), plan.coefficient_rate / count * step_size(share));

    losses.push_back(loss.value);
    job.progress.step(step + 1, plan.steps, fmt::format("relative loss {:.4f}", loss.value / norm));
    if (!std::isfinite(loss.value) || job.progress.out_of_time()) break;
    if (step >= window) {
      const double before = losses[losses.size() - 1 - window];
      result.settled = loss.value > before * (1 - still_falling);
      if (result.settled && share >= 1) break;
    }
  }
  coefficients.of(result.candidates, result.searched, result.coefficients);
  result.iterations = static_cast<std::int64_t>(losses.size());
  result.loss_initial = losses.front();
  result.loss_final = losses.back();
  return result;
}

Tensor by_weight(const SearchResult& found) {
  const Tensor weight = found.candidates.norm(2, 1) * found.coefficients.norm(2, 1);
  return found.candidates.index_select(0, at::argsort(weight, 0, /*descending=*/true)).to(at::kDouble);
}

State state_of(const SearchResult& found) {
  return State()
      .set("candidates", found.candidates)
      .set("coefficients", found.coefficients)
      .set("iterations", found.iterations)
      .set("loss_initial", found.loss_initial)
      .set("loss_final", found.loss_final)
      .set("settled", std::int64_t{found.settled});
}

SearchResult result_of(const State& state) {
  SearchResult found;
  found.candidates = state.tensor("candidates");
  found.coefficients = state.tensor("coefficients");
  found.iterations = state.whole("iterations");
  found.loss_initial = state.number("loss_initial");
  found.loss_final = state.number("loss_final");
  found.settled = state.whole("settled") != 0;
  return found;
}

}  // namespace afterimage
