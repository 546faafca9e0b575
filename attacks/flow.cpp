#include "attacks/flow.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "attacks/flow_of_rows.h"
#include "attacks/solver/adam.h"
#include "attacks/solver/combination.h"
#include "attacks/solver/cost.h"
#include "attacks/solver/deflation.h"
#include "attacks/solver/fit.h"
#include "attacks/solver/image_size.h"
#include "attacks/solver/limits.h"
#include "attacks/solver/pixel_bounds.h"
#include "models/tangent/flow.h"

namespace afterimage {
namespace {

constexpr double kept_share = 0.5;  // of |r|^2 after each segment: 8 of them then follow training to 0.5 % of ||h||^2
constexpr double ridge = 1e-5;
// Smooth at first, so that images can cross the kinks on their way; then close to the ReLU.
constexpr double beta_start = 50, beta_end = 200;
constexpr double step_length = 0.7;         // of one Adam step, L2 over all coordinates: a tenth of an image or so
constexpr double coefficient_share = 0.05;  // of the flow's mean coefficient, of one Adam step
constexpr double smallest_step = 0.02;
// The network fits vertices on an image to within this; confirmed images that it fits less well are refined again. With
// a sixth of it exact images move too, and follow the error of the segments: of 98 at MNIST, N = 100, 22 were lost.
constexpr double exact_misfit = 2e-2;
constexpr double fit_tolerance = 0.35;  // of |f| from its target: images 30 % off come within it
constexpr double same_candidate = 0.4;  // relative distance within which two candidates stand for one image
// An image is confirmed when the mismatch of the flow without it is twice that with it, and the latter is small.
// Measured (Fashion-MNIST, N = 20 and 50): this holds for images up to 0.13 off; for images 0.3 off the ratio is 1.3,
// for wrong ones 1.1. (Digits of 8 x 8, N = 20: 1.6 at one 0.33 off.)
constexpr double necessary = 2, trusted_mismatch = 0.03;
// Where parameters are few, wrong images explain as much as right ones. (Scikit-learn's digits, one hidden layer, 12 to
// 25 images: with 0.6 to 1.6 equations for each unknown 3 of 14 images with such a ratio were right, at a mismatch of
// 0.01 to 0.04; with 8 and 33 all of 5 and 11; with 3.4 at a mismatch of 0.04 none of 2.)
constexpr double least_equations = 5;   // for each unknown
constexpr double diverged = 1e3;        // of the squared change
constexpr double largest_part = 0.5;    // of a confirmed image in another
constexpr double idle = 1.15;           // an image with a smaller ratio has no effect
constexpr double worth_going_on = 0.9;  // a round that leaves a larger share of the mismatch is the last
// Rows of the kernel of what follows, one for each image and output, that is decomposed in every segment of every step.
constexpr std::int64_t largest_kernel = 4000;

struct Settings {
  FlowPlan plan;
  std::int64_t steps, rounds;
};

Settings parse(const OptionValues& options) {
  return {{options.whole("segments", 2, 1000), kept_share, ridge},
          options.whole("flow-steps", 1, 1'000'000),
          options.whole("flow-rounds", 1, 1000)};
}

// A geometric rise over the first 60 %.
Smoothing sharpened(double share) { return {beta_start * std::pow(beta_end / beta_start, std::min(1.0, share / 0.6))}; }

// Full steps for the first half, then down to almost none.
double step_size(double share) { return std::clamp((1 - share) / 0.5, smallest_step, 1.0); }

class Polish {
 public:
  // The network of `released` has to be dense.
  Polish(const Subject& subject, const TrainedNetwork& released, const Settings& settings,
         const std::optional<RowSpan>& span, Job& job)
      : network_(*released.dense()),
        settings_(settings),
        basis_(span ? span->basis.to(at::kFloat) : Tensor()),
        initial_(acting(span ? released.initial.times(span->decay) : released.initial)),
        trained_(acting(released.trained)),
        norm_(trained_.minus(initial_).squared_norm()),
        bounds_(subject.space, basis_, pixel_penalty),
        size_(subject.space, span ? span->basis : Tensor()),
        job_(job) {
    if (span) {
      const BiasCondition bias = bias_condition_of(released, *span);
      most_ = most_images(*span, bias);
      gates_.emplace(released, *span, bias);
    }
    if (span && span->rank <= largest_rank) deflation_.emplace(subject, *span);
  }

  Reconstruction run(const HandOver& hand_over) {
    const Tensor sure = hand_over.confirmed.defined() ? hand_over.confirmed : hand_over.candidates.slice(0, 0, 0);
    kept_ = job_.state.take();
    if (!kept_.empty()) {
      restore(kept_);
    } else if (!arrange(bounds_.from_images(at::cat({sure, hand_over.candidates})), sure.size(0))) {
      return not_applicable("the trained network fits none of the candidates of the attacks before it");
    }
    if (moving().size(0) == 0) return not_applicable("all candidates of the attacks before it are exact");
    for (;; ++round_) {
      job_.progress.stage(fmt::format("flow: round {}, {} images are exact, {} follow, {} are free", round_ + 1, exact_,
                                      following_, free()));
      const double before = mismatch_;
      polish();
      judge();
      snapped_ = snap();
      // Where the first round's flow diverges, the next continues without the images that caused it.
      const bool fruitless = snapped_.size(0) == 0 && round_ > 0 && !(mismatch_ < worth_going_on * before);
      if (round_ + 1 == settings_.rounds || fruitless || job_.progress.out_of_time()) break;
      const Tensor exact = at::cat({images_.narrow(0, 0, exact_), snapped_});
      if (!arrange(at::cat({exact, needed()}), exact.size(0))) break;  // the images judged last are the result
      if (moving().size(0) == 0) {
        snapped_ = images_.slice(0, 0, 0);  // they are among the exact ones now
        judge();
        break;
      }
    }
    return conclude();
  }

 private:
  Parameters acting(const Parameters& parameters) const {
    const Parameters single = parameters.to(at::kFloat);
    return basis_.defined() ? network_.in_basis(single, basis_) : single;
  }
  std::int64_t followers() const { return exact_ + following_; }
  std::int64_t free() const { return images_.size(0) - followers(); }
  Tensor moving() { return images_.narrow(0, exact_, images_.size(0) - exact_); }
  std::int64_t most_following() const { return std::min(most_, largest_kernel / network_.outputs()); }
  FlowImages present() const { return {images_, targets_, coefficients_}; }

  // Those of the first `sure` images that the trained network fits exactly stay where they are; others that it fits
  // follow the flow, the best first and as many as may be missing; the rest are free. Each image is taken once. Where
  // none would be exact or follow, there is no flow: returns false, and nothing changes.
  bool arrange(const Tensor& images, std::int64_t sure) {
    if (images.size(0) == 0) return false;
    const Tensor outputs = network_.features_at(trained_, images, {})->outputs();
    const Tensor targets = fitted_targets(outputs), misfit = (outputs - targets).abs().amax(1);
    const Tensor exact = (misfit < exact_misfit).logical_and(at::arange(images.size(0)) < sure);
    const Tensor order = at::argsort(misfit - exact.to(misfit.scalar_type()));
    const Tensor taken = at::empty(images.sizes(), images.options());
    std::vector<Tensor> taken_targets;
    std::int64_t count = 0, exact_count = 0, following_count = 0;
    for (std::int64_t i = 0; i < order.size(0); ++i) {
      const auto row = order[i].item<std::int64_t>();
      if (is_near_any(taken.narrow(0, 0, count), images[row])) continue;
      taken[count++].copy_(images[row]);
      if (exact[row].item<bool>()) {
        ++exact_count;
      } else if (misfit[row].item<double>() < fit_tolerance && exact_count + following_count < most_following()) {
        ++following_count;
      } else {
        continue;
      }
      taken_targets.push_back(targets[row]);
    }
    if (taken_targets.empty()) return false;
    images_ = taken.narrow(0, 0, count);
    exact_ = exact_count;
    following_ = following_count;
    targets_ = at::stack(taken_targets);
    coefficients_ =
        free() > 0 ? at::zeros({settings_.plan.segments, free(), targets_.size(1)}, images_.options()) : Tensor();
    return true;
  }

  // Between the steps of a round.
  State state() const {
    State now;
    now.set("round", round_).set("mismatch", mismatch_).set("iterations", result_.iterations);
    if (result_.loss_initial) now.set("loss_initial", *result_.loss_initial);
    now.set("images", images_).set("exact", exact_).set("following", following_).set("targets", targets_);
    if (coefficients_.defined()) now.set("coefficients", coefficients_);
    if (deflation_) now.set("deflation", deflation_->state());
    return now;
  }

  void restore(const State& kept) {
    round_ = kept.whole("round");
    mismatch_ = kept.number("mismatch");
    result_.iterations = kept.whole("iterations");
    if (kept.has("loss_initial")) result_.loss_initial = kept.number("loss_initial");
    images_ = kept.tensor("images");
    exact_ = kept.whole("exact");
    following_ = kept.whole("following");
    targets_ = kept.tensor("targets");
    coefficients_ = kept.has("coefficients") ? kept.tensor("coefficients") : Tensor();
    if (deflation_) deflation_->restore(kept.part("deflation"));
  }

  void polish() {
    Tensor images = moving();
    Adam image_steps(images);
    std::optional<Adam> coefficient_steps;
    double coefficient_rate = 0;
    std::int64_t step = 0;
    if (const State kept = std::exchange(kept_, {}).part("polish"); !kept.empty()) {
      step = kept.whole("step");
      image_steps.restore(kept.part("images"));
      if (kept.has("coefficient_rate")) {
        coefficient_rate = kept.number("coefficient_rate");
        coefficient_steps.emplace(coefficients_).restore(kept.part("coefficients"));
      }
    }
    const double image_rate = step_length * bounds_.width() / std::sqrt(static_cast<double>(images.size(1)));
    for (; step < settings_.steps && !job_.progress.out_of_time(); ++step) {
      if (step > 0 && job_.state.due()) {
        State polishing = State().set("step", step).set("images", image_steps.state());
        if (coefficient_steps) {
          polishing.set("coefficient_rate", coefficient_rate).set("coefficients", coefficient_steps->state());
        }
        job_.state.keep(state().set("polish", polishing));
      }
      const double share = static_cast<double>(step) / static_cast<double>(settings_.steps);
      const auto loss = flow_loss(network_, initial_, trained_, present(), settings_.plan, sharpened(share));
      if (std::isinf(loss.value)) return;
      if (!result_.loss_initial) result_.loss_initial = loss.value * norm_;
      if (free() > 0 && !coefficient_steps) {
        coefficient_steps.emplace(coefficients_);
        coefficient_rate = coefficient_share * loss.coefficients.narrow(1, 0, followers()).abs().mean().item<double>();
      }
      Tensor gradient = loss.by_images.narrow(0, exact_, images.size(0));
      bounds_.add_gradient(images, 1 / norm_, gradient);
      image_steps.step(images, gradient, image_rate * step_size(share));
      if (coefficient_steps) {
        coefficient_steps->step(coefficients_, loss.by_coefficients, coefficient_rate * step_size(share));
      }
      ++result_.iterations;
      job_.progress.step(step + 1, settings_.steps, fmt::format("mismatch {:.4f}", loss.value));
    }
  }

  // Vertices of the pixel polytope that the refined images lead to: exact images, where their bounds agree.
  Tensor snap() {
    if (!deflation_ || job_.progress.out_of_time()) return images_.slice(0, 0, 0);
    job_.progress.stage("flow: vertices near the refined images");
    deflation_->accept(bounds_.to_images(images_.narrow(0, 0, exact_)));
    const Tensor before = deflation_->known().to(at::kFloat);
    NullStore no_store;
    deflation_->offer(moving().to(at::kDouble), job_.progress, no_store);
    const Tensor after = deflation_->known().to(at::kFloat);  // some of those before may be gone, or better now
    std::vector<Tensor> found{after.slice(0, 0, 0)};
    for (std::int64_t i = 0; i < after.size(0); ++i) {
      if (!is_near_any(before, after[i])) found.push_back(after.narrow(0, i, 1));
    }
    return at::cat(found);
  }

  double mismatch_of(const FlowImages& set) const {
    return flow_mismatch(network_, initial_, trained_, set, settings_.plan, sharpened(1));
  }

  // The ratio of the mismatch without an image to that with it, for each image that follows. None where only one
  // follows: without it there is no flow.
  void judge() {
    job_.progress.stage("flow: with and without each image");
    necessity_.clear();
    mismatch_ = mismatch_of(present());
    for (std::int64_t i = exact_; i < followers() && followers() > 1; ++i) {
      const auto without = [&](const Tensor& rows) { return at::cat({rows.slice(0, 0, i), rows.slice(0, i + 1)}); };
      necessity_.push_back(mismatch_of({without(images_), without(targets_), coefficients_}) / mismatch_);
      job_.progress.step(i - exact_ + 1, following_, "");
    }
  }

  // The images that move, less those that follow the flow without effect, which take the place of others. Where the
  // effect is not known they stay: an image that follows alone, or one with and without which the flow diverges.
  Tensor needed() {
    std::vector<Tensor> images{moving().slice(0, following_)};
    for (std::int64_t i = 0; i < following_; ++i) {
      const bool is_idle = !necessity_.empty() && necessity_[static_cast<std::size_t>(i)] <= idle;
      if (!is_idle) images.push_back(images_.narrow(0, exact_ + i, 1));
    }
    return at::cat(images);
  }

  // Two images close together with opposite coefficients are both necessary, whatever they show; and an image that is
  // claimed beside the vertex that it led to counts once.
  bool stands_alone(const Tensor& images, std::int64_t row) const {
    return !is_near_any(images.slice(0, 0, row), images[row]) && !is_near_any(images.slice(0, row + 1), images[row]);
  }

  // Whether silent neurons show an image [k] to be no training image, or to have much of one that the rows of `sure`
  // [K, k] stand for, whose missing directions are `directions`. After large steps a fragment of one image follows the
  // flow in the place of another (of ten images one was 0.55 from any training image; the ratio of silent neurons is
  // 0.38 there, below 0.001 at eight, and 0.17 at one that is right).
  bool is_refuted(const Tensor& sure, const Tensor& directions, const Tensor& image) const {
    if (gates_->refutes(image, /*off=*/true)) return true;
    return (gates_->parts(directions, sure, image.unsqueeze(0)) > largest_part).any().item<bool>();
  }

  // Of the parameters that the images act on, for each of the numbers that were searched for.
  double equations_an_unknown() const {
    const std::int64_t moving = images_.size(0) - exact_,
                       unknowns = moving * images_.size(1) + (coefficients_.defined() ? coefficients_.numel() : 0);
    return static_cast<double>(trained_.count()) / static_cast<double>(std::max<std::int64_t>(unknowns, 1));
  }

  // Of the images that follow, the most necessary first, as many as there may be; no combination of those before it.
  void confirm_necessary(const Tensor& claimed, Tensor& confirmed) const {
    const bool tests = gates_ && gates_->applies();
    Tensor sure = claimed.index_select(0, at::nonzero(confirmed).squeeze(1)).to(at::kDouble);
    Tensor directions = tests ? gates_->missing_directions(sure) : Tensor();
    const Tensor order = at::argsort(at::tensor(necessity_, at::kDouble), 0, /*descending=*/true);
    for (std::int64_t i = 0; i < order.numel(); ++i) {
      const auto at = order[i].item<std::int64_t>(), row = exact_ + at;
      if (necessity_[static_cast<std::size_t>(at)] <= necessary || sure.size(0) >= most_) break;
      const Tensor image = claimed[row].to(at::kDouble);
      if (!stands_alone(claimed, row) || is_combination(sure, image)) continue;
      if (tests && is_refuted(sure, directions, image)) continue;
      confirmed[row] = true;
      sure = at::cat({sure, image.unsqueeze(0)});
      if (tests) directions = at::cat({directions, gates_->missing_directions(image.unsqueeze(0))});
    }
  }

  Reconstruction conclude() {
    const Tensor claimed = at::cat({images_, snapped_});
    result_.claim.images = bounds_.to_images(claimed);
    Tensor confirmed = at::zeros({result_.claim.images.size(0)}, at::kBool);
    confirmed.slice(0, 0, exact_).fill_(true);
    confirmed.slice(0, images_.size(0)).fill_(true);
    if (mismatch_ < trusted_mismatch && equations_an_unknown() > least_equations) confirm_necessary(claimed, confirmed);
    result_.claim.confirmed = confirmed;
    result_.complete = deflation_ && deflation_->complete();
    result_.evidence["segments"] = settings_.plan.segments;
    result_.evidence["exact"] = exact_;
    result_.evidence["followed"] = following_;
    result_.evidence["free"] = free();
    result_.evidence["snapped"] = snapped_.size(0);
    result_.evidence["equations_an_unknown"] = equations_an_unknown();
    result_.evidence["mismatch_without_over_with"] = necessity_;
    if (!(mismatch_ < diverged)) {
      result_.status = Status::inconclusive;
      result_.reason =
          "training on the candidates of the attacks before it diverges: they are too far off, or the weights before "
          "training are not those that it began with";
      return std::move(result_);
    }
    result_.relative_loss = mismatch_;
    result_.loss_final = mismatch_ * norm_;
    if (mismatch_ >= most_unexplained) {
      result_.status = Status::inconclusive;
      result_.reason = fmt::format(
          "training on the candidates of the attacks before it ends {:.0f} % of the parameters' change away from the "
          "trained parameters: they are too far off, or too few, to be refined",
          100 * std::sqrt(mismatch_));
    }
    return std::move(result_);
  }

  bool is_near_any(const Tensor& images, const Tensor& image) const {
    return (size_.relative_distances(images, image) < same_candidate).any().item<bool>();
  }

  const DenseNetwork& network_;
  const Settings& settings_;
  Tensor basis_;
  Parameters initial_, trained_;
  double norm_;
  PixelBounds bounds_;
  ImageSize size_;
  Job& job_;
  State kept_;  // of an interrupted run, until it is taken up
  std::optional<Deflation> deflation_;
  std::optional<GateTest> gates_;                                 // with a span
  std::int64_t most_ = std::numeric_limits<std::int64_t>::max();  // images that there may be
  Tensor images_;                                                 // exact ones, those that follow the flow, free ones
  std::int64_t exact_ = 0, following_ = 0;
  Tensor targets_, coefficients_;  // of those that follow; of those that are free
  Tensor snapped_;                 // [s, k] in the last round
  std::int64_t round_ = 0;
  double mismatch_ = std::numeric_limits<double>::infinity();  // after the last round
  std::vector<double> necessity_;
  Reconstruction result_;
};

Estimate estimate(const Settings& settings, const Subject& subject, std::int64_t images) {
  if (subject.loss != LossKind::squared) return {};
  const auto segments = static_cast<double>(settings.plan.segments), count = static_cast<double>(images);
  const Estimate there =
      cost_of_path(sizes_of(std::get<TrainedNetwork>(subject.released)), count, segments, segments + 6);
  const double sweeps = static_cast<double>(settings.steps * settings.rounds) / 2;  // rounds that are fruitless end it
  const double rows = subject.space.one_hot.empty() ? 0 : seconds_of_exchange(count, settings.rounds);
  return {3 * there.products * sweeps, seconds_of_snaps(count, count), there.bytes, there.seconds * sweeps + rows};
}

// Whether all that training did not change is zero, as are the biases of a network that has none.
bool lacks_biases(const TrainedNetwork& released) {
  for (std::size_t i = 0; i < released.initial.size(); ++i) {
    if (at::equal(released.initial[i], released.trained[i]) && released.trained[i].any().item<bool>()) return false;
  }
  return true;
}

Reconstruction run(const Settings& settings, const Subject& subject, const HandOver& hand_over, Job& job) {
  if (!subject.loss) {
    return not_applicable("the flow is that of the squared loss, and the loss is not known; give it in --model");
  }
  if (subject.loss != LossKind::squared) {
    return not_applicable("the flow is that of the squared loss, and the model was trained on another");
  }
  const auto& released = std::get<TrainedNetwork>(subject.released);
  if (released.dense() == nullptr) {
    return not_applicable("only for fully connected networks: training is followed in closed form");
  }
  if (released.some_unchanged()) {
    return not_applicable(lacks_biases(released)
                              ? "the network has no biases, or training did not move them from zero: the flow moves all"
                              : "some parameters did not change (frozen, or of unknown initial value): the flow moves "
                                "all of them");
  }
  if (const std::string hidden = released.hidden_by_float32(); !hidden.empty()) return not_applicable(hidden);
  if (hand_over.complete) {
    return not_applicable("every image that the row space counts is confirmed already: nothing is left to find");
  }
  if (job.progress.out_of_time()) return not_begun();
  if (!hand_over.candidates.defined() || hand_over.candidates.size(0) == 0) {
    return not_applicable("there are no candidates from an attack before it; run it after finite-width");
  }
  const std::int64_t sure = hand_over.confirmed.defined() ? hand_over.confirmed.size(0) : 0;
  if (std::max<std::int64_t>(sure, 1) * released.network->outputs() > largest_kernel) {
    return not_applicable(
        fmt::format("the kernel of {} confirmed images with {} outputs each is decomposed in every step, and has more "
                    "than {} rows",
                    sure, released.network->outputs(), largest_kernel));
  }
  job.progress.stage("flow: row space of the first layer's change");
  const auto span = row_span_of(released).span;
  Reconstruction polished = Polish(subject, released, settings, span, job).run(hand_over);
  if (subject.space.one_hot.empty()) return polished;
  return flow_of_rows(subject, span, hand_over.confirmed, std::move(polished), 2 * settings.rounds, job);
}

}  // namespace

Attack flow_attack() {
  Attack attack;
  attack.name = "flow";
  attack.description =
      "refines the candidates of other attacks and tests them by the training that these images would have caused";
  attack.needs = "the same as finite-width, the squared loss, and candidates from an attack before it";
  attack.does_not_apply =
      "losses other than the squared one; no candidates from an attack before it, or nothing left to find; it does not "
      "search by itself";
  attack.options = {
      {"segments", "exponential segments that training is followed in", "8", "INTEGER"},
      {"flow-steps", "Adam steps of a round", "150", "INTEGER"},
      {"flow-rounds", "rounds of refinement at most, each followed by linear programmes towards exact images", "4",
       "INTEGER"}};
  attack.configure = configured_by(parse, estimate, run);
  return attack;
}

}  // namespace afterimage
