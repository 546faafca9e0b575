#include "defenses/privacy_accountant.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <numbers>
#include <numeric>

#include "models/foundations/error.h"

namespace afterimage {
namespace {

// log E_{z ~ N(0, sigma^2)} (1 - q + q exp((2z - 1) / (2 sigma^2)))^power by brute force: the trapezoidal rule, which
// converges exponentially for such integrands.
double log_moment_by_integration(double sigma, double q, double power) {
  const double step = sigma / 60, ends = 45 * sigma + 1;
  std::vector<double> logs;
  for (double z = -ends + std::min(power, 0.0); z < ends + std::max(power, 0.0); z += step) {
    const double second = std::log(q) + (2 * z - 1) / (2 * sigma * sigma), first = std::log1p(-q);
    const double mixture = std::max(first, second) + std::log1p(std::exp(-std::abs(first - second)));
    logs.push_back(-z * z / (2 * sigma * sigma) + power * mixture);
  }
  const double largest = *std::max_element(logs.begin(), logs.end());
  double sum = 0;
  for (const double value : logs) sum += std::exp(value - largest);
  return largest + std::log(sum * step / (sigma * std::sqrt(2 * std::numbers::pi)));
}

std::vector<double> with_whole(std::vector<double> orders, int from, int to, const std::vector<double>& more = {}) {
  for (int order = from; order <= to; ++order) orders.push_back(order);
  orders.insert(orders.end(), more.begin(), more.end());
  return orders;
}

std::vector<double> tenths() {
  std::vector<double> orders;
  for (int i = 1; i < 100; ++i) orders.push_back(1 + i / 10.0);
  return orders;
}

// The orders of TensorFlow Privacy's compute_dp_sgd_privacy, of Opacus and of dp_accounting.
std::vector<double> orders_of_tensorflow_privacy() {
  return with_whole({1.25, 1.5, 1.75, 2, 2.25, 2.5, 3, 3.5, 4, 4.5}, 5, 63, {128, 256, 512});
}
std::vector<double> orders_of_opacus() { return with_whole(tenths(), 12, 63); }
std::vector<double> orders_of_dp_accounting() { return with_whole(tenths(), 11, 63, {128, 256, 512, 1024}); }

SampledGaussian epochs(double images, double batch, double noise_multiplier, double count) {
  return {noise_multiplier, batch / images, static_cast<std::int64_t>(std::ceil(count * images / batch))};
}

}  // namespace

TEST_CASE("the Renyi divergence of one step is that of numerical integration, for whole orders and others") {
  struct Case {
    double q, sigma, order;
  };
  // Those of TensorFlow Privacy's rdp_accountant_test, and some where the series converge slowly.
  const auto [q, sigma, order] =
      GENERATE(values<Case>({{1e-7, .1, 1.01}, {1e-6, .1, 256}, {1e-5, .1, 256.1}, {1e-6, 1, 27},  {1e-4, 1, 1.5},
                             {1e-3, 1, 2},     {.01, 10, 20},   {.1, 100, 20.5},   {.99, .1, 256}, {.999, 100, 256.1},
                             {.5, 1, 1.1},     {.01, .5, 1.1},  {.2, 3, 4.7},      {.5, .3, 2.5},  {.6, 5, 1.02},
                             {.1, .6, 3},      {.05, 2, 999.5}, {.3, 20, 5000},    {.9, 1, 1.5},   {.004, 1.1, 9.01}}));
  CAPTURE(q, sigma, order);
  const double expected = log_moment_by_integration(sigma, q, order);
  const double found = renyi_divergence({sigma, q, 1}, order) * (order - 1);
  // Integration rounds at about 1e-12 of the moment, which is 1 or more.
  CHECK(found == Approx(expected).epsilon(1e-9).margin(1e-12));
}

TEST_CASE("the Renyi divergence keeps its digits where it is almost nothing") {
  // At order 2, A = 1 + q^2 (exp(1 / sigma^2) - 1).
  for (const double q : {1e-9, 1e-6, 1e-2}) {
    for (const double sigma : {1.0, 50.0}) {
      const double expected = std::log1p(q * q * std::expm1(1 / (sigma * sigma)));
      CHECK(renyi_divergence({sigma, q, 1}, 2) == Approx(expected).epsilon(1e-12));
    }
  }
}

TEST_CASE("the divergence in the opposite direction is no larger") {
  for (const double q : {0.01, 0.3, 0.9}) {
    for (const double sigma : {0.5, 1.0, 4.0}) {
      for (const double order : {1.5, 2.0, 8.0, 40.0}) {
        // D(N(0) || mixture): the integral of N(0) times (mixture / N(0))^(1 - order).
        CHECK(log_moment_by_integration(sigma, q, 1 - order) <=
              renyi_divergence({sigma, q, 1}, order) * (order - 1) + 1e-12);
      }
    }
  }
}

TEST_CASE("Renyi divergences are the published ones") {
  // TensorFlow Privacy, rdp_accountant_test: test_compute_rdp_no_data, _no_sampling, _scalar, _sequence. The last is
  // 0.00065 there at order 1.5 and 6.7058e-4 in dp_accounting since 2021, which adds the absolute values of its
  // alternating series: an upper bound.
  CHECK(renyi_divergence({10, 0, 1}, 20) == 0);
  CHECK(renyi_divergence({10, 1, 1}, 20) == Approx(0.1));
  CHECK(renyi_divergence({2, 0.1, 10}, 5) == Approx(0.07737).margin(5e-6));
  const SampledGaussian sequence{2.5, 0.01, 50};
  CHECK(renyi_divergence(sequence, 1.5) == Approx(0.00065).margin(1e-5));
  CHECK(renyi_divergence(sequence, 1.5) <= 6.70579741e-04);
  CHECK(renyi_divergence(sequence, 2.5) == Approx(1.08548710e-03).epsilon(1e-4));
  CHECK(renyi_divergence(sequence, 5) == Approx(2.18075656e-03).epsilon(1e-4));
  CHECK(renyi_divergence(sequence, 50) == Approx(2.38460375e-02).epsilon(1e-4));
  CHECK(renyi_divergence(sequence, 100) == Approx(167.416308).epsilon(1e-6));
}

TEST_CASE("the classic epsilon is the published one") {
  // TensorFlow Privacy, rdp_accountant_test: test_get_privacy_spent_check_target_delta and test_check_composition.
  const PrivacySpent spent = privacy_spent({{4, 0.01, 10000}}, 1e-5, Conversion::classic, with_whole({}, 2, 32));
  CHECK(spent.epsilon == Approx(1.258575).margin(1e-5));
  CHECK(spent.order == 20);
  const PrivacySpent both =
      privacy_spent({{.4, 1e-4, 40000}, {2, .1, 100}}, 1e-5, Conversion::classic,
                    {1.25, 1.5, 1.75, 2, 2.5, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 64, 256});
  CHECK(both.epsilon == Approx(8.509656).margin(1e-5));
  CHECK(both.order == 2.5);
  // compute_noise_from_budget_test, read backwards: images, batch, noise, epochs, delta.
  const auto classic = [](const SampledGaussian& steps, double delta) {
    return privacy_spent({steps}, delta, Conversion::classic, orders_of_tensorflow_privacy()).epsilon;
  };
  CHECK(classic(epochs(60000, 150, 1.3, 15), 1e-5) == Approx(0.941870567).margin(1e-6));
  CHECK(classic(epochs(100000, 100, 1.0, 30), 1e-7) == Approx(1.70928734).margin(1e-6));
  CHECK(classic(epochs(100000000, 1024, 0.1, 10), 1e-7) == Approx(5907984.81339406).margin(1e-3));
}

TEST_CASE("the improved epsilon is the published one") {
  // TensorFlow Privacy, compute_dp_sgd_privacy_test: test_compute_dp_sgd_privacy.
  const auto improved = [](const SampledGaussian& steps, double delta) {
    return privacy_spent({steps}, delta, Conversion::improved, orders_of_tensorflow_privacy());
  };
  const PrivacySpent first = improved(epochs(60000, 150, 1.3, 15), 1e-5);
  CHECK(first.epsilon == Approx(0.7242234026109595).margin(1e-6));
  CHECK(first.order == 19);
  const PrivacySpent second = improved(epochs(100000, 100, 1.0, 30), 1e-7);
  CHECK(second.epsilon == Approx(1.4154988495444842).margin(1e-6));
  CHECK(second.order == 13);
  CHECK(improved(epochs(100000000, 1024, 0.1, 10), 1e-7).epsilon == Approx(5907982.3113978775).margin(1e-3));
  // The same file: test_compute_dp_sgd_example_privacy with subsampling, and the statement (its noise multiplier of 2
  // counts half there, with micro-batches).
  const auto accounted = [](const SampledGaussian& steps, double delta) {
    return privacy_spent({steps}, delta, Conversion::improved, orders_of_dp_accounting()).epsilon;
  };
  CHECK(accounted({0.7, 1e-2, 120}, 1e-5) == Approx(3.2392676).margin(1e-3));
  CHECK(accounted(epochs(10000, 64, 1, 5), 1e-6) == Approx(1.616).margin(1e-3));
  CHECK(accounted({1, 1, 5}, 1e-6) == Approx(13.376).margin(1e-3));
  // Opacus, accountants_test: test_rdp_accountant.
  CHECK(privacy_spent({{1.5, 0.04, 2250}}, 1e-5, Conversion::improved, orders_of_opacus()).epsilon ==
        Approx(7.32911117143).margin(1e-6));
  // dp_accounting, rdp_privacy_accountant_test: test_compute_epsilon_delta_gaussian, chosen for an epsilon of 1.
  CHECK(privacy_spent({{4.530877117, 1, 1}}, 1e-6).epsilon == Approx(1).margin(1e-6));
}

TEST_CASE("the order that is found is the best of a fine grid of orders") {
  std::vector<double> orders;
  for (double above = 0.0101; above < 300; above *= 1.03) orders.push_back(1 + above);
  for (const SampledGaussian& steps : {SampledGaussian{1.3, 0.0025, 6000}, SampledGaussian{1.5, 1, 100},
                                       SampledGaussian{0.6, 0.1, 500}, SampledGaussian{30, 0.5, 20}}) {
    for (const Conversion conversion : {Conversion::classic, Conversion::improved}) {
      const PrivacySpent found = privacy_spent({steps}, 1e-3, conversion);
      const PrivacySpent grid = privacy_spent({steps}, 1e-3, conversion, orders);
      CAPTURE(steps.noise_multiplier, found.order, grid.order);
      CHECK(found.epsilon <= grid.epsilon + 1e-9);
      CHECK(found.epsilon == Approx(grid.epsilon).epsilon(1e-3));
    }
  }
}

TEST_CASE("epsilon of the Gaussian mechanism bounds the exact one from above, and not by much") {
  // delta = Phi(1 / (2 sigma) - epsilon sigma) - exp(epsilon) Phi(-1 / (2 sigma) - epsilon sigma): Balle & Wang 2018,
  // theorem 8.
  const auto phi = [](double x) { return std::erfc(-x / std::numbers::sqrt2) / 2; };
  const auto delta_of = [&](double sigma, double epsilon) {
    return phi(0.5 / sigma - epsilon * sigma) - std::exp(epsilon) * phi(-0.5 / sigma - epsilon * sigma);
  };
  for (const double sigma : {0.7, 1.5, 4.0}) {
    const double epsilon = privacy_spent({{sigma, 1, 1}}, 1e-5).epsilon;
    CHECK(delta_of(sigma, epsilon) <= 1e-5);
    CHECK(delta_of(sigma, 0.8 * epsilon) > 1e-5);
  }
}

TEST_CASE("epsilon grows with steps and sampling rate, and falls with noise and delta") {
  const auto epsilon = [](double sigma, double q, std::int64_t steps, double delta) {
    return privacy_spent({{sigma, q, steps}}, delta).epsilon;
  };
  for (const double q : {0.01, 0.2, 1.0}) {
    double before = 0;
    for (const std::int64_t steps : {1, 10, 100, 1000}) {
      CHECK(epsilon(2, q, steps, 1e-4) > before);
      before = epsilon(2, q, steps, 1e-4);
    }
    for (double sigma = 0.5; sigma < 8; sigma *= 2) {
      CHECK(epsilon(2 * sigma, q, 50, 1e-4) < epsilon(sigma, q, 50, 1e-4));
    }
    CHECK(epsilon(2, q, 50, 1e-3) < epsilon(2, q, 50, 1e-5));
  }
  double before = 0;
  for (const double q : {1e-3, 1e-2, 0.1, 0.5, 0.9, 0.999, 1.0}) {
    CHECK(epsilon(2, q, 50, 1e-4) > before);
    before = epsilon(2, q, 50, 1e-4);
  }
  CHECK(std::isinf(epsilon(0, 0.1, 1, 1e-4)));
  CHECK(epsilon(2, 0.1, 0, 1e-4) == 0);
  CHECK(privacy_spent({{2, 0.1, 30}, {2, 0.1, 20}}, 1e-4).epsilon == Approx(epsilon(2, 0.1, 50, 1e-4)));
}

TEST_CASE("the noise multiplier for an epsilon spends no more than it and hardly less") {
  struct Case {
    double epsilon, delta, rate;
    std::int64_t steps;
  };
  const auto [epsilon, delta, rate, steps] = GENERATE(values<Case>(
      {{8, 1e-5, 0.04, 2250}, {1, 1e-3, 1, 500}, {0.05, 1e-6, 0.01, 1000}, {100, 1e-3, 1, 100}, {3, 1e-2, 0.2, 1}}));
  const double found = noise_multiplier_for(epsilon, delta, rate, steps);
  CHECK(privacy_spent({{found, rate, steps}}, delta).epsilon <= epsilon);
  CHECK(privacy_spent({{found * (1 - 1e-5), rate, steps}}, delta).epsilon > epsilon);
}

TEST_CASE("the noise multiplier for an epsilon is the published one, and refused where there is none") {
  // Opacus, accountants_test: test_get_noise_multiplier_rdp_epochs and _steps, whose search ends within 0.01 of
  // epsilon.
  CHECK(noise_multiplier_for(8, 1e-5, 0.04, 2250) == Approx(1.416).margin(1e-3));
  CHECK(noise_multiplier_for(8, 1e-5, 0.04, 2000) == Approx(1.3562).margin(1e-3));
  CHECK_THROWS_AS(noise_multiplier_for(1e-6, 1e-9, 0.5, 1000), UsageError);
}

}  // namespace afterimage
