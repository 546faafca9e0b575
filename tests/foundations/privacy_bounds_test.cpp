// Lower bounds on epsilon: published values of other implementations, ceilings, and what they give where nothing leaks.
#include "models/foundations/privacy_bounds.h"

#include <algorithm>
#include <boost/math/distributions/normal.hpp>
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <random>
#include <vector>

namespace afterimage::test {
namespace {

constexpr double significance = 0.05;

// (TP, FP) at the thresholds on the convex hull of the ROC of scores that lie at the quantiles (i + 1/2) / n of two
// normal distributions `shift` apart.
std::vector<std::pair<std::int64_t, std::int64_t>> hull_of_normal_scores(double shift, int n) {
  const boost::math::normal standard;
  std::vector<std::pair<double, bool>> scores;
  for (int i = 0; i < n; ++i) {
    const double quantile = boost::math::quantile(standard, (i + 0.5) / n);
    scores.emplace_back(quantile + shift, true);
    scores.emplace_back(quantile, false);
  }
  std::sort(scores.begin(), scores.end(), std::greater<>());
  std::vector<std::pair<std::int64_t, std::int64_t>> hull = {{0, 0}};
  std::int64_t tp = 0, fp = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    (scores[i].second ? tp : fp) += 1;
    if (i + 1 < scores.size() && scores[i + 1].first == scores[i].first) continue;
    const auto left_of_line = [&] {  // whether the last corner is above the line from the one before to (tp, fp)
      const auto& a = hull[hull.size() - 2];
      const auto& b = hull.back();
      return (b.first - a.first) * (fp - a.second) > (tp - a.first) * (b.second - a.second);
    };
    while (hull.size() > 1 && !left_of_line()) hull.pop_back();
    hull.emplace_back(tp, fp);
  }
  return hull;
}

// At every eighth threshold, then at all between the neighbours of the best of these.
double best_over_hull(double shift, const std::function<double(const Guesses&, std::int64_t, double, double)>& bound) {
  constexpr int n = 10000, step = 8;
  const auto hull = hull_of_normal_scores(shift, n);
  const int corners = static_cast<int>(hull.size());
  const auto at = [&](int i) {
    const auto [tp, fp] = hull[static_cast<std::size_t>(i)];
    return bound({tp, tp + fp}, 2 * n, 1e-6, significance / corners);
  };
  int best = 1;
  double most = at(best);
  const auto look = [&](int first, int last, int by) {
    for (int i = first; i <= last; i += by) {
      if (const double value = at(i); value > most) most = value, best = i;
    }
  };
  look(1, corners - 1, step);
  look(std::max(1, best - step), std::min(corners - 1, best + step), 1);
  return most;
}

}  // namespace

TEST_CASE("the bound of one run has the values of Steinke et al.'s code") {
  const auto bound = [](std::int64_t canaries, std::int64_t guesses, std::int64_t right, double delta) {
    return epsilon_in_one_run({right, guesses}, canaries, delta, significance);
  };
  const auto near = [](double value) { return Approx(value).margin(1e-4); };
  CHECK(bound(1000, 100, 95, 0) == near(2.1724));
  CHECK(bound(1000, 100, 95, 1e-6) == near(2.1717));
  CHECK(bound(1000, 100, 95, 1e-5) == near(2.1652));
  CHECK(bound(1000, 100, 100, 0) == near(3.4930));
  CHECK(bound(1000, 100, 100, 1e-6) == near(3.4902));
  CHECK(bound(1000, 100, 100, 1e-5) == near(3.4654));
  CHECK(bound(1000, 100, 80, 0) == near(0.9584));
  CHECK(bound(1000, 1000, 600, 0) == near(0.2975));
  CHECK(bound(5000, 1000, 950, 0) == near(2.7019));
  CHECK(bound(5000, 1000, 950, 1e-6) == near(2.7013));
  CHECK(bound(5000, 1000, 950, 1e-5) == near(2.6965));
  CHECK(bound(100, 100, 75, 0) == near(0.7022));
  CHECK(bound(20, 20, 20, 0) == near(1.8227));
}

TEST_CASE("delta counts also where the probability of so many right guesses is too small for a double") {
  // At epsilon 0 the tail 2^-5000 is nothing beside 2 m delta max_i P[right - i <= Bin < right] / i, about
  // 2 * 1e6 * 0.5 * (1 / 2600) = 385.
  CHECK(epsilon_in_one_run({5000, 5000}, 1000000, 0.5, significance) == 0);
  CHECK(epsilon_in_one_run({5000, 5000}, 1000000, 1e-9, significance) > 5);
}

TEST_CASE("the bounds of one run have the values of jax_privacy's tests on normal scores") {
  CHECK(best_over_hull(0, epsilon_in_one_run) == 0);
  CHECK(best_over_hull(1, epsilon_in_one_run) == Approx(1.13346).margin(1e-4));
  CHECK(best_over_hull(2, epsilon_in_one_run) == Approx(2.311945).margin(1e-4));
  CHECK(best_over_hull(4, epsilon_in_one_run) == Approx(4.395568).margin(1e-4));
  CHECK(best_over_hull(0, gaussian_epsilon_in_one_run) == 0);
  CHECK(best_over_hull(1, gaussian_epsilon_in_one_run) == Approx(2.164749).margin(1e-4));
  CHECK(best_over_hull(2, gaussian_epsilon_in_one_run) == Approx(4.7218075).margin(1e-4));
  CHECK(best_over_hull(4, gaussian_epsilon_in_one_run) == Approx(9.133752).margin(1e-4));
}

TEST_CASE("the bound by rates is 0 where privacy-estimates has 0, and by hand elsewhere") {
  // TP 487, FN 0, FP 512, TN 1 at 90 %, delta 1e-5.
  CHECK(epsilon_by_rates({487, 487}, {1, 513}, 1e-5, 0.1) == 0);
  // All of n right on either side: (s/2)^(1/n) is the least TPR, 1 - (s/2)^(1/n) the largest FPR.
  for (const int n : {10, 100, 1000}) {
    const double least = std::pow(significance / 2, 1.0 / n);
    CHECK(epsilon_by_rates({n, n}, {n, n}, 0, significance) == Approx(std::log(least / (1 - least))));
    CHECK(epsilon_by_rates({n, n}, {n, n}, 0.1, significance) == Approx(std::log((least - 0.1) / (1 - least))));
  }
  // The mirrored direction: it is the others that are told with certainty.
  CHECK(epsilon_by_rates({100, 100}, {20, 100}, 0, significance) ==
        Approx(epsilon_by_rates({20, 100}, {100, 100}, 0, significance)));
  CHECK(epsilon_by_rates({100, 100}, {20, 100}, 0, significance) > 0.5);
}

TEST_CASE("ceilings of one run are those that are published") {
  const std::vector<std::pair<int, double>> known = {{10, 1.05},  {20, 1.82},   {50, 2.78},   {100, 3.49},  {200, 4.19},
                                                     {500, 5.11}, {1000, 5.81}, {5000, 7.42}, {10000, 8.11}};
  for (const auto& [canaries, ceiling] : known) {
    CHECK(epsilon_in_one_run({canaries, canaries}, canaries, 0, significance) == Approx(ceiling).margin(0.005));
  }
}

TEST_CASE("guesses by coin give a bound in no more than 5 of 100 draws") {
  std::mt19937_64 random(5);
  constexpr int draws = 1000, n = 200;
  int by_rates = 0, one_run = 0, gaussian = 0;
  for (int draw = 0; draw < draws; ++draw) {
    std::binomial_distribution<std::int64_t> coin(n, 0.5);
    const Guesses members{coin(random), n}, others{coin(random), n};
    by_rates += epsilon_by_rates(members, others, 1e-5, significance) > 0 ? 1 : 0;
    const Guesses all{members.right + others.right, 2 * n};
    one_run += epsilon_in_one_run(all, 2 * n, 1e-5, significance) > 0 ? 1 : 0;
    gaussian += gaussian_epsilon_in_one_run(all, 2 * n, 1e-5, significance) > 0 ? 1 : 0;
  }
  // A bound that fires in 5 of 100 draws fires in more than 72 of these 1000 once in a thousand.
  CHECK(by_rates <= 72);
  CHECK(one_run <= 72);
  CHECK(gaussian <= 72);
  CHECK(one_run > 0);  // it is no bound that never fires
}

TEST_CASE("randomized response of epsilon 1 is said to have more in no more than 5 of 100 draws, and nearly shows it") {
  std::mt19937_64 random(6);
  constexpr int draws = 1000, n = 1000;
  const double truth = 1, right = 1 / (1 + std::exp(-truth));
  int too_much = 0, one_run_too_much = 0;
  double sum = 0;
  for (int draw = 0; draw < draws; ++draw) {
    std::binomial_distribution<std::int64_t> answers(n, right);
    const Guesses members{answers(random), n}, others{answers(random), n};
    too_much += epsilon_by_rates(members, others, 0, significance) > truth ? 1 : 0;
    const Guesses all{members.right + others.right, 2 * n};
    const double bound = epsilon_in_one_run(all, 2 * n, 0, significance);
    one_run_too_much += bound > truth ? 1 : 0;
    sum += bound;
  }
  CHECK(too_much <= 72);
  CHECK(one_run_too_much <= 72);
  CHECK(sum / draws > 0.85 * truth);
}

TEST_CASE("epsilon of a Gaussian mechanism is that of Balle and Wang's condition") {
  const boost::math::normal standard;
  for (const double mu : {0.1, 1.0, 3.0}) {
    for (const double delta : {1e-6, 1e-3}) {
      const double epsilon = epsilon_of_gaussian(mu, delta);
      const double reached = boost::math::cdf(standard, mu / 2 - epsilon / mu) -
                             std::exp(epsilon) * boost::math::cdf(standard, -mu / 2 - epsilon / mu);
      CHECK(reached == Approx(delta).epsilon(1e-6));
    }
  }
  CHECK(epsilon_of_gaussian(0, 1e-5) == 0);
}

TEST_CASE("scores without signal show no epsilon in at least 95 of 100 draws, at whatever threshold would look best") {
  std::mt19937_64 random(7);
  std::normal_distribution<double> normal;
  constexpr int draws = 1000;
  int shown = 0;
  for (int draw = 0; draw < draws; ++draw) {
    std::vector<double> members(100), others(200);
    for (auto* scores : {&members, &others})
      std::generate(scores->begin(), scores->end(), [&] { return normal(random); });
    shown += epsilon_lower_bound(members, others, {}, static_cast<std::uint64_t>(draw))->value > 0 ? 1 : 0;
  }
  CHECK(shown <= draws / 20);
}

TEST_CASE("scores that tell all show their ceiling, in either direction, and those of a Gaussian mechanism not more") {
  std::mt19937_64 random(8);
  std::normal_distribution<double> normal;
  std::vector<double> members(400), others(400);
  std::generate(members.begin(), members.end(), [&] { return 100 + normal(random); });
  std::generate(others.begin(), others.end(), [&] { return normal(random); });
  const auto above = *epsilon_lower_bound(members, others, {}, 1), below = *epsilon_lower_bound(others, members, {}, 1);
  CHECK(above.value == Approx(above.ceiling));
  CHECK(below.value == Approx(below.ceiling));
  CHECK(above.guesses == 400);
  CHECK(above.ceiling == Approx(epsilon_by_rates({200, 200}, {200, 200}, 1e-5, 0.05)));
  // Shifted by mu, scores are those of a mechanism that is mu-GDP.
  int too_much = 0;
  double sum = 0;
  constexpr int draws = 200;
  const double mu = 1, truth = epsilon_of_gaussian(mu, 1e-5);
  for (int draw = 0; draw < draws; ++draw) {
    std::generate(members.begin(), members.end(), [&] { return mu + normal(random); });
    std::generate(others.begin(), others.end(), [&] { return normal(random); });
    const double bound = epsilon_lower_bound(members, others, {}, static_cast<std::uint64_t>(draw))->value;
    too_much += bound > truth ? 1 : 0;
    sum += bound;
  }
  CHECK(too_much == 0);
  CHECK(sum / draws > 0.5);
}

TEST_CASE("records that were included by coin are bounded in one run: never above randomized response, and near it") {
  std::mt19937_64 random(9);
  constexpr int draws = 300, records = 500;
  const auto bounds_at = [&](double truth, double delta) {
    std::bernoulli_distribution coin(0.5), tells(1 / (1 + std::exp(-truth)));
    std::uniform_real_distribution<double> noise;
    int too_much = 0;
    double sum = 0;
    for (int draw = 0; draw < draws; ++draw) {
      std::vector<double> members, others;
      for (int i = 0; i < records; ++i) {
        const bool in = coin(random);
        (in ? members : others).push_back((in == tells(random) ? 1 : 0) + 0.5 * noise(random));
      }
      const auto bound = *epsilon_lower_bound(members, others, {.delta = delta, .by_coin = true}, 1);
      CHECK(bound.method == BoundMethod::one_run);
      too_much += bound.value > truth ? 1 : 0;
      sum += bound.value;
    }
    CHECK(too_much <= draws / 20);
    return sum / draws;
  };
  CHECK(bounds_at(0, 1e-5) < 0.01);
  CHECK(bounds_at(1, 0) > 0.6);
  CHECK(bounds_at(3, 0) > 2.2);
}

TEST_CASE("canaries that are all told show the ceiling of one run, and equal scores nothing") {
  const std::vector<double> in(50, 1.0), out(50, 0.0), equal(50, 1.0);
  const auto told = *epsilon_lower_bound(in, out, {.by_coin = true}, 3);
  CHECK(told.value == told.ceiling);
  CHECK(told.guesses == 100);
  CHECK(told.ceiling == Approx(epsilon_in_one_run({100, 100}, 100, 1e-5, 0.05 / 6)));
  CHECK(epsilon_lower_bound(out, in, {.by_coin = true}, 3)->value == 0);
  int shown = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    shown += epsilon_lower_bound(in, equal, {.by_coin = true}, seed)->value > 0 ? 1 : 0;
  }
  CHECK(shown <= 10);
}

TEST_CASE("too few records have no bound, and scores that are NaN are refused") {
  const std::vector<double> three = {1, 2, 3}, four = {1, 2, 3, 4}, odd = {1, 2, 3, std::nan("")};
  CHECK_FALSE(epsilon_lower_bound(three, four, {}, 0));
  CHECK_FALSE(epsilon_lower_bound(four, three, {}, 0));
  CHECK(epsilon_lower_bound(four, four, {}, 0)->value == 0);
  CHECK_THROWS_AS(epsilon_lower_bound(four, odd, {}, 0), std::invalid_argument);
}

TEST_CASE("what cannot be is refused") {
  CHECK_THROWS_AS(epsilon_by_rates({2, 1}, {1, 1}, 0, 0.05), std::invalid_argument);
  CHECK_THROWS_AS(epsilon_by_rates({1, 1}, {0, 0}, 0, 0.05), std::invalid_argument);
  CHECK_THROWS_AS(epsilon_by_rates({1, 1}, {1, 1}, 1, 0.05), std::invalid_argument);
  CHECK_THROWS_AS(epsilon_in_one_run({1, 1}, 1, 0, 0), std::invalid_argument);
  CHECK_THROWS_AS(epsilon_in_one_run({2, 2}, 1, 0, 0.05), std::invalid_argument);
  CHECK_THROWS_AS(gaussian_epsilon_in_one_run({1, 1}, 1, 0, 0.05), std::invalid_argument);
}

}  // namespace afterimage::test
