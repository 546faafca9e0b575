#include "attacks/solver/sampled_tangents.h"

#include <catch2/catch.hpp>

#include "models/mlp.h"

namespace afterimage {
namespace {

constexpr std::int64_t pixels = 10, images_count = 4, neurons = 64, drawn = 16;

struct Problem {
  Mlp network{pixels, {24, neurons}, 1, Parameterization::standard};
  Parameters start, change;
  Tensor images, coefficients;

  Problem() {
    Generator random = seeded(5);
    start = network.draw_initial(random).value().to(at::kDouble);
    images = at::randn({images_count, pixels}, random, at::kDouble);
    coefficients = at::randn({images_count, 1}, random, at::kDouble);
    change = network.pullback(start, images, [&](const Tensor&) { return coefficients; });
  }
  SampledTangents sampled(std::uint64_t seed) const { return {network, {start}, change, {}, drawn, seed}; }
};

}  // namespace

TEST_CASE("whichever neurons are drawn, the training images explain the change, held or free") {
  const Problem problem;
  SampledTangents target = problem.sampled(1);
  CHECK(target.squared_norm() == Approx(problem.change.squared_norm()));
  for (const std::int64_t step : {0, 25, 60, 399}) {
    target.begin_step(step);
    CHECK(std::abs(target.loss(problem.images, problem.coefficients, {}).value) < 1e-9 * target.squared_norm());
    CHECK(target.loss(problem.images, 2 * problem.coefficients, {}).value ==
          Approx(target.squared_norm()).epsilon(1e-9));
  }
  target.hold(problem.images.narrow(0, 0, 2));
  for (const std::int64_t step : {0, 50}) {
    target.begin_step(step);
    const double left = target.loss(problem.images.narrow(0, 2, 2), problem.coefficients.narrow(0, 2, 2), {}).value;
    CHECK(std::abs(left) < 1e-5 * target.squared_norm());
  }
}

TEST_CASE("the neurons are determined by the seed and the step, not by the steps before") {
  const Problem problem;
  const Tensor others = problem.images + 0.3;
  const auto loss_at = [&](SampledTangents& target, std::int64_t step) {
    target.begin_step(step);
    return target.loss(others, problem.coefficients, {}).value;
  };
  SampledTangents through = problem.sampled(2), straight = problem.sampled(2), another = problem.sampled(9);
  double at_sixty = 0;
  for (std::int64_t step = 0; step <= 60; ++step) at_sixty = loss_at(through, step);
  CHECK(loss_at(straight, 60) == at_sixty);
  CHECK(loss_at(another, 60) != at_sixty);
  CHECK(loss_at(straight, 0) != at_sixty);
}

TEST_CASE("over many draws the mean is the loss of all neurons") {
  const Problem problem;
  const Tensor others = problem.images + 0.3;
  const Tensor all = at::arange(neurons);
  const auto whole = problem.network.tangents_of_neurons(all, {problem.start}, problem.change, {});
  const double expected =
      whole->loss(others, problem.coefficients, {}).value / whole->squared_norm() * problem.change.squared_norm();
  SampledTangents target = problem.sampled(3);
  double sum = 0;
  constexpr std::int64_t draws = 400;
  for (std::int64_t i = 0; i < draws; ++i) {
    target.begin_step(25 * i);
    sum += target.loss(others, problem.coefficients, {}).value;
  }
  CHECK(sum / draws == Approx(expected).epsilon(0.05));
}

}  // namespace afterimage
