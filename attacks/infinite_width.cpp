#include "attacks/infinite_width.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "attacks/solver/cost.h"
#include "attacks/solver/frank_wolfe.h"
#include "models/mlp.h"

namespace afterimage {
namespace {

// Where a larger share of the learned function's squared values is left unexplained, the images are not meaningful.
constexpr double unexplained = 0.1;

// With a larger gap, the error of the analytic kernel is of the size of the change by training.
constexpr double largest_gap = 0.3;
constexpr std::int64_t learned_images = 40, asked_images = 100;
constexpr auto nothing_learned =
    "training changed nothing of the outputs at random images, or they are not finite: there is no function to explain";

Tensor random_images(std::int64_t count, const ImageSpace& space, Generator& random) {
  const Tensor pixels = at::rand({count, space.dimension()}, random, at::kFloat);
  return space.over_scale(pixels * (space.high - space.low) + (space.low - space.mean));
}

// How far kernel regression on random images with the network's own tangent kernel at the start is from that with the
// analytic one, relative L2 of the two at others: the error that finite width alone causes in a function like the
// learned one. Infinite where the parameters are so few that a kernel is singular; not a number where weights overflow.
double width_gap(const TrainedNetwork& released, const ImageSpace& space, const AnalyticNtk& analytic,
                 Generator& random) {
  const Tensor images = random_images(learned_images + asked_images, space, random).to(at::kDouble);
  const Tensor labels = at::randn({learned_images, 1}, random, at::kDouble);
  // One output's, as the analytic one is: the kernel of all grows with their square. Networks with an analytic kernel
  // are fully connected, and the last two parameters are the weight and bias that outputs have a row of each.
  const auto one = make_network(released.network->architecture(), released.network->parameterization(),
                                released.network->inputs(), 1);
  std::vector<Parameters::Entry> entries = released.initial.entries();
  for (std::size_t i = entries.size() - 2; i < entries.size(); ++i) {
    entries[i].second = entries[i].second.narrow(0, 0, 1);
  }
  const Parameters start = Parameters(std::move(entries)).to(at::kDouble);
  const Tensor empirical = one->tangents(start, start, {0.0})->gram(images, {});
  const auto regression = [&](const Tensor& kernel) {
    const Tensor learned = kernel.narrow(0, 0, learned_images).narrow(1, 0, learned_images);
    const Tensor between = kernel.narrow(0, learned_images, asked_images).narrow(1, 0, learned_images);
    const auto [factor, failure] = at::linalg_cholesky_ex(learned);
    return failure.item<int>() == 0 ? at::mm(between, at::cholesky_solve(labels, factor)) : Tensor();
  };
  const Tensor wanted = regression(analytic(images, images)), made = regression(empirical);
  if (!wanted.defined() || !made.defined()) return std::numeric_limits<double>::infinity();
  return ((made - wanted).norm() / wanted.norm()).item<double>();
}

// The change of the outputs at random images by training against its prediction by the tangent features at the start,
// relative L2. Not finite where training changed nothing there, or outputs overflow.
double training_gap(const TrainedNetwork& released, const ImageSpace& space, Generator& random) {
  const auto& [network, initial, trained] = released;
  const Tensor images = random_images(asked_images, space, random);
  const Tensor change = network->evaluate(trained, images) - network->evaluate(initial, images);
  const Tensor linear = network->pushforward(initial, trained.minus(initial), images);
  return ((change - linear).norm() / change.norm()).item<double>();
}

FrankWolfePlan parse(const OptionValues& options) {
  FrankWolfePlan plan;
  plan.rounds = options.whole("frank-wolfe-rounds", 1, 100000);
  plan.climbers = options.whole("climbers", 1, 100000);
  return plan;
}

Estimate estimate(const FrankWolfePlan& plan, const Subject& subject, std::int64_t images) {
  const auto count = static_cast<double>(images), climbers = static_cast<double>(plan.climbers);
  if (const TrainedNetwork* released = subject.trained_network()) {
    // Whether it applies: the tangent kernel of one output at the start, in float64. Hardly any network is wide enough.
    const Sizes sizes = sizes_of(*released);
    Estimate check = cost_of_search(sizes, learned_images + asked_images, 1, sizes.pixels, 1);
    check.bytes = 2 * (check.bytes + 4 * sizes.parameters);
    return check;
  }
  // Some rounds for each ten images, each with climbers and slides against the support and the training images.
  const double steps = (10 + count / 10) * static_cast<double>(plan.climb_steps + plan.slide_steps);
  const double pixels = static_cast<double>(subject.infinite_network()->learned->inputs());
  return {steps * (climbers + count) * 2 * count * pixels * 2, 0,
          8 * (8 * count * count + climbers * (count + pixels))};
}

Reconstruction run(const FrankWolfePlan& plan, const Subject& subject, const HandOver& hand_over, Job& job) {
  Reconstruction result;
  if (hand_over.complete) {
    return not_applicable("nothing is left to find: the attacks before it confirmed as many images as the span counts");
  }
  std::optional<AnalyticNtk> kernel;
  std::shared_ptr<const LearnedFunction> learned;
  if (const InfiniteNetwork* infinite = subject.infinite_network()) {
    kernel = infinite->kernel;
    learned = infinite->learned;
  } else {
    const TrainedNetwork& released = *subject.trained_network();
    const DenseNetwork* dense = released.dense();
    if (dense == nullptr) {
      return not_applicable(released.network->architecture() + " has no infinite-width kernel in closed form");
    }
    if (dense->last_hidden_layer().neurons == 0) {
      return not_applicable("the network has no hidden layer that could be of infinite width");
    }
    kernel = dense->infinite_kernel();
    const double narrow = width_gap(released, subject.space, *kernel, job.random);
    if (!std::isfinite(narrow)) {
      return not_applicable(
          fmt::format("the tangent kernel of {} images is singular or not finite: the network is far too narrow, or "
                      "its weights too large, to be described by one of infinite width",
                      learned_images));
    }
    const double strayed = training_gap(released, subject.space, job.random);
    if (!std::isfinite(strayed)) return not_applicable(nothing_learned);
    result.evidence["width_gap"] = narrow;
    result.evidence["training_gap"] = strayed;
    if (!(narrow <= largest_gap && strayed <= largest_gap)) {
      result.status = Status::not_applicable;
      result.reason = fmt::format(
          "the network is not close to one of infinite width: its width gap is {:.2f} and its training gap {:.2f}, and "
          "both have to be {} at most",
          narrow, strayed, largest_gap);
      return result;
    }
    learned = std::make_shared<NetworkChange>(released.network, released.initial, released.trained);
  }
  if (job.progress.out_of_time()) return not_begun();
  const Measure found = frank_wolfe(*learned, *kernel, subject.space, hand_over.confirmed, plan, job);
  if (!std::isfinite(found.residuals.back())) return not_applicable(nothing_learned);
  result.iterations = found.iterations;
  result.relative_loss = found.residuals.back();
  result.evidence["unexplained_by_round"] = found.residuals;
  if (!(*result.relative_loss <= unexplained) && !job.progress.out_of_time()) {
    result.status = Status::not_applicable;
    result.reason = fmt::format(
        "the analytic kernel leaves {:.0f} % of the change of the outputs by training unexplained: the network is too "
        "narrow, or training left its tangent space too far",
        100 * *result.relative_loss);
    return result;
  }
  result.claim.images = found.images.to(at::kFloat);
  result.coefficients = found.coefficients.to(at::kFloat);
  result.evidence["support"] = found.images.size(0);
  return result;
}

}  // namespace

Attack infinite_width_attack() {
  Attack attack;
  attack.name = "infinite-width";
  attack.description =
      "training images whose analytic kernel functions add up to the change of the outputs by training";
  attack.needs =
      "the network's answers to any image, before and after training; its architecture; the pixel range; of a finite "
      "network initial and trained weights as well, to decide whether it is wide enough";
  attack.does_not_apply = "networks without a closed-form infinite-width kernel";
  attack.options = {
      {"frank-wolfe-rounds",
       "rounds of adding and sliding images at most; the search ends earlier when nothing is gained", "200", "INTEGER"},
      {"climbers", "points that search for a missing image in a round", "300", "INTEGER"}};
  attack.works_without_weights = true;
  attack.configure = configured_by(parse, estimate, run);
  return attack;
}

}  // namespace afterimage
