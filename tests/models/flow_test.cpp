#include "models/tangent/flow.h"

#include <catch2/catch.hpp>

#include "models/mlp.h"

namespace afterimage {
namespace {

struct Problem {
  Mlp network{20, {256, 256}, 1, Parameterization::standard};
  Parameters start;
  Tensor images, targets;

  Problem() {
    Generator random = seeded(3);
    start = network.initial(random).to(at::kDouble);
    images = at::randn({6, 20}, random, at::kDouble);
    targets = (at::arange(6).remainder(2) * 2 - 1).to(at::kDouble).unsqueeze(1);
  }
  double squared_residual(const Parameters& at) const {
    return (targets - network.evaluate(at, images)).square().sum().item<double>();
  }
  // Gradient descent with steps so small that it is the flow, until |r|^2 has fallen to `wanted`.
  Parameters descended(double wanted) const {
    Parameters at = start;
    while (squared_residual(at) > wanted) {
      at = at.plus(network.pullback(at, images, [&](const Tensor& outputs) { return targets - outputs; }), 2e-5);
    }
    return at;
  }
};

double relative(const Parameters& a, const Parameters& b, const Parameters& from) {
  return std::sqrt(a.minus(b).squared_norm() / b.minus(from).squared_norm());
}

}  // namespace

TEST_CASE("the flow follows real training at every segment, and the closer the more segments there are") {
  const Problem problem;
  const double residual = problem.squared_residual(problem.start);
  double before = 1;
  for (const std::int64_t segments : {2, 4, 8}) {
    // All but the last end where half of the squared residual is left in all.
    const double keep = std::pow(0.5, 1.0 / static_cast<double>(segments));
    const auto path =
        gradient_flow(problem.network, problem.start, problem.images, problem.targets, {segments + 1, keep, 1e-9});
    REQUIRE(path.size() == static_cast<std::size_t>(segments) + 2);
    const Parameters& middle = path[static_cast<std::size_t>(segments)];
    const Parameters real = problem.descended(problem.squared_residual(middle));
    const double error = relative(middle, real, problem.start);
    CAPTURE(segments, error);
    CHECK(problem.squared_residual(middle) == Approx(0.5 * residual).epsilon(0.1));
    CHECK(error < 0.7 * before);
    before = error;
  }
  CHECK(before < 0.02);
}

TEST_CASE("the last segment of the flow fits its images") {
  const Problem problem;
  const auto path = gradient_flow(problem.network, problem.start, problem.images, problem.targets, {10, 0.6, 1e-9});
  CHECK(problem.squared_residual(path.back()) < 0.02 * problem.squared_residual(problem.start));
}

TEST_CASE("a flow without images or segments is refused") {
  const Problem problem;
  CHECK_THROWS_AS(
      gradient_flow(problem.network, problem.start, problem.images.slice(0, 0, 0), problem.targets.slice(0, 0, 0)),
      std::invalid_argument);
  CHECK_THROWS_AS(gradient_flow(problem.network, problem.start, problem.images, problem.targets, {0, 0.6, 1e-9}),
                  std::invalid_argument);
}

}  // namespace afterimage
