#include "models/foundations/statistics.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <set>
#include <stdexcept>

namespace afterimage {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// Whole numbers from few values, so that there are ties.
std::vector<double> small_numbers(std::mt19937& random, std::size_t count, int values) {
  std::uniform_int_distribution<int> pick(0, values - 1);
  std::vector<double> result(count);
  for (double& value : result) value = pick(random);
  return result;
}

std::vector<double> real_numbers(std::mt19937& random, std::size_t count) {
  std::uniform_real_distribution<double> pick(-3, 5);
  std::vector<double> result(count);
  for (double& value : result) value = pick(random);
  return result;
}

double share_at_least(const std::vector<double>& values, double threshold) {
  const auto count = std::count_if(values.begin(), values.end(), [&](double value) { return value >= threshold; });
  return static_cast<double>(count) / static_cast<double>(values.size());
}

// The least cost of all ways to give min(rows, columns) rows a column of their own.
double least_cost_by_trying_all(const std::vector<double>& cost, std::size_t rows, std::size_t columns) {
  const std::size_t longer = std::max(rows, columns), shorter = std::min(rows, columns);
  std::vector<std::size_t> order(longer);
  std::iota(order.begin(), order.end(), std::size_t{0});
  double least = infinity;
  do {
    double total = 0;
    for (std::size_t k = 0; k < shorter; ++k)
      total += rows <= columns ? cost[k * columns + order[k]] : cost[order[k] * columns + k];
    least = std::min(least, total);
  } while (std::next_permutation(order.begin(), order.end()));
  return least;
}

double cost_of(const std::vector<std::int64_t>& column_of, const std::vector<double>& cost, std::size_t columns) {
  double total = 0;
  for (std::size_t row = 0; row < column_of.size(); ++row)
    if (column_of[row] >= 0) total += cost[row * columns + static_cast<std::size_t>(column_of[row])];
  return total;
}

void require_one_to_one(const std::vector<std::int64_t>& column_of, std::size_t rows, std::size_t columns) {
  REQUIRE(column_of.size() == rows);
  std::set<std::int64_t> taken;
  for (const std::int64_t column : column_of) {
    REQUIRE(column >= -1);
    REQUIRE(column < static_cast<std::int64_t>(columns));
    if (column >= 0) REQUIRE(taken.insert(column).second);
  }
  REQUIRE(taken.size() == std::min(rows, columns));
}

}  // namespace

TEST_CASE("Clopper-Pearson intervals are those of SciPy") {
  struct Known {
    std::int64_t count, of;
    double low, high;
  };
  // scipy.stats.binomtest(count, of).proportion_ci(0.95, "exact")
  const auto known = GENERATE(
      Known{0, 20, 0, 0.16843347098308548}, Known{20, 20, 0.8315665290169145, 1},
      Known{1, 20, 0.0012650894979560339, 0.24873276277202772}, Known{17, 20, 0.6210731734547044, 0.9679290628144552},
      Known{5, 500, 0.003254721407030503, 0.023181388069659612}, Known{77, 100, 0.6751412672248969, 0.8482683886985328},
      Known{0, 500, 0, 0.007350610051907785}, Known{500, 1000, 0.46854917297179194, 0.531450827028208},
      Known{1, 1, 0.025, 1});
  const Rate rate = rate_of(known.count, known.of);
  CHECK(rate.count == known.count);
  CHECK(rate.of == known.of);
  CHECK(rate.rate == static_cast<double>(known.count) / static_cast<double>(known.of));
  CHECK(rate.ci95_low == Approx(known.low).epsilon(1e-10));
  CHECK(rate.ci95_high == Approx(known.high).epsilon(1e-10));
}

TEST_CASE("a rate of none, or of more than all, is refused") {
  CHECK_THROWS_AS(rate_of(0, 0), std::invalid_argument);
  CHECK_THROWS_AS(rate_of(-1, 5), std::invalid_argument);
  CHECK_THROWS_AS(rate_of(6, 5), std::invalid_argument);
  CHECK_THROWS_AS(fisher_p_value(Rate{}, rate_of(1, 2)), std::invalid_argument);
}

TEST_CASE("Fisher's one-sided p-value is SciPy's") {
  struct Known {
    std::int64_t found, members, control_found, control;
    double p;
  };
  // scipy.stats.fisher_exact([[found, rest], [found, rest]], alternative="greater")
  const auto known =
      GENERATE(Known{3, 4, 1, 4, 0.24285714285714283}, Known{20, 20, 5, 500, 8.955785083643156e-32},
               Known{1, 20, 5, 500, 0.2106034538641889}, Known{2, 50, 6, 500, 0.15931989140777203},
               Known{0, 20, 5, 500, 1}, Known{10, 20, 10, 20, 0.6238144327180455},
               Known{50, 50, 6, 500, 9.420924442171585e-65}, Known{300, 2000, 40, 500, 1.2492345284441357e-05},
               Known{7, 10, 500, 500, 1}, Known{5, 20, 0, 500, 4.988664525950766e-08});
  const double p = fisher_p_value(rate_of(known.found, known.members), rate_of(known.control_found, known.control));
  CHECK(p == Approx(known.p).epsilon(1e-9));
}

TEST_CASE("the quantile leaves at most its share below it") {
  CHECK(quantile({5, 1, 4, 2, 3}, 0) == 1);
  CHECK(quantile({5, 1, 4, 2, 3}, 0.2) == 2);
  CHECK(quantile({5, 1, 4, 2, 3}, 0.39) == 2);
  CHECK(quantile({5, 1, 4, 2, 3}, 1) == 5);
  CHECK(quantile({7}, 0.01) == 7);
  CHECK(quantile({infinity, 1}, 0.5) == infinity);

  std::vector<double> hundred(100);
  std::iota(hundred.begin(), hundred.end(), 0.0);
  for (int percent = 0; percent < 100; ++percent) CHECK(quantile(hundred, percent / 100.0) == percent);

  CHECK_THROWS_AS(quantile({}, 0.01), std::invalid_argument);
  CHECK_THROWS_AS(quantile({1, nan}, 0.01), std::invalid_argument);
  CHECK_THROWS_AS(quantile({1}, 1.5), std::invalid_argument);
}

TEST_CASE("the quantile leaves at most its share below it, whatever the values") {
  std::mt19937 random(GENERATE(range(0u, 20u)));
  const auto values = small_numbers(random, 1 + random() % 60, 12);
  const double q = std::uniform_real_distribution<double>(0, 1)(random);
  const double found = quantile(values, q);
  const auto below = std::count_if(values.begin(), values.end(), [&](double value) { return value < found; });
  const auto up_to = std::count_if(values.begin(), values.end(), [&](double value) { return value <= found; });
  const double n = static_cast<double>(values.size());
  CHECK(static_cast<double>(below) <= q * n + 1e-9);
  CHECK(static_cast<double>(up_to) > q * n - 1e-9);
}

TEST_CASE("the area under the curve is the share of pairs in the right order, ties counting half") {
  std::mt19937 random(GENERATE(range(0u, 20u)));
  const auto members = small_numbers(random, 1 + random() % 40, 9),
             control = small_numbers(random, 1 + random() % 40, 7);
  double right = 0;
  for (const double ours : members)
    for (const double theirs : control) right += ours > theirs ? 1 : ours == theirs ? 0.5 : 0;
  const Membership membership = membership_of(members, control);
  CHECK(membership.auc == Approx(right / static_cast<double>(members.size() * control.size())).epsilon(1e-14));
}

TEST_CASE("the curve has exactly its area below it, rises, and has no corner on a straight line") {
  std::mt19937 random(GENERATE(range(0u, 20u)));
  const auto members = small_numbers(random, 1 + random() % 40, 9),
             control = small_numbers(random, 1 + random() % 40, 7);
  const Membership membership = membership_of(members, control);
  const auto& roc = membership.roc;
  REQUIRE(roc.front() == std::pair(0.0, 0.0));
  REQUIRE(roc.back() == std::pair(1.0, 1.0));
  double area = 0;
  for (std::size_t k = 1; k < roc.size(); ++k) {
    const double right = roc[k].first - roc[k - 1].first, up = roc[k].second - roc[k - 1].second;
    CHECK(right >= 0);
    CHECK(up >= 0);
    area += right * (roc[k].second + roc[k - 1].second) / 2;
    if (k + 1 == roc.size()) break;
    const double next_right = roc[k + 1].first - roc[k].first, next_up = roc[k + 1].second - roc[k].second;
    CHECK(std::abs(right * next_up - next_right * up) > 1e-12);
  }
  CHECK(area == Approx(membership.auc).epsilon(1e-12));
}

TEST_CASE("advantage and true positive rates are the best over all thresholds") {
  std::mt19937 random(GENERATE(range(0u, 10u)));
  const auto members = small_numbers(random, 50, 500);
  auto control = small_numbers(random, 1000, 400);
  double advantage = 0, at_0_01 = 0, at_0_001 = 0;
  auto all = members;
  all.insert(all.end(), control.begin(), control.end());
  all.push_back(1e6);
  for (const double threshold : all) {
    const double tpr = share_at_least(members, threshold), fpr = share_at_least(control, threshold);
    advantage = std::max(advantage, tpr - fpr);
    if (fpr <= 0.01) at_0_01 = std::max(at_0_01, tpr);
    if (fpr <= 0.001) at_0_001 = std::max(at_0_001, tpr);
  }
  const Membership membership = membership_of(members, control);
  CHECK(membership.advantage == Approx(advantage).epsilon(1e-12));
  CHECK(membership.tpr_at_fpr_0_01.value() == at_0_01);
  CHECK(membership.tpr_at_fpr_0_001.value() == at_0_001);
}

TEST_CASE("there is no true positive rate at a false positive rate that the control set is too small for") {
  const std::vector<double> members = {1, 2, 3};
  const auto with = [&](std::size_t control) { return membership_of(members, std::vector<double>(control, 0.0)); };
  CHECK_FALSE(with(99).tpr_at_fpr_0_01);
  CHECK(with(100).tpr_at_fpr_0_01 == 1.0);
  CHECK_FALSE(with(999).tpr_at_fpr_0_001);
  CHECK(with(1000).tpr_at_fpr_0_001 == 1.0);
}

TEST_CASE("perfect, useless and inverted scores have membership 1, 0.5 and 0") {
  const std::vector<double> high = {3, 4, 5}, low = {0, 1, 2, infinity * -1};
  const Membership perfect = membership_of(high, low);
  CHECK(perfect.auc == 1);
  CHECK(perfect.advantage == 1);
  CHECK(perfect.roc == std::vector<std::pair<double, double>>{{0, 0}, {0, 1}, {1, 1}});
  const Membership inverted = membership_of(low, high);
  CHECK(inverted.auc == 0);
  CHECK(inverted.advantage == 0);
  const Membership useless = membership_of(std::vector<double>(5, 1.0), std::vector<double>(9, 1.0));
  CHECK(useless.auc == 0.5);
  CHECK(useless.roc.size() == 2);
  CHECK_THROWS_AS(membership_of({}, low), std::invalid_argument);
  CHECK_THROWS_AS(membership_of(high, std::vector<double>{nan}), std::invalid_argument);
}

TEST_CASE("the assignment costs as little as the best of all permutations") {
  std::mt19937 random(GENERATE(range(0u, 60u)));
  const std::size_t rows = 1 + random() % 6, columns = 1 + random() % 6;
  const auto cost = random() % 2 ? real_numbers(random, rows * columns) : small_numbers(random, rows * columns, 4);
  const auto column_of = assign(cost, static_cast<std::int64_t>(rows), static_cast<std::int64_t>(columns));
  require_one_to_one(column_of, rows, columns);
  CHECK(cost_of(column_of, cost, columns) == Approx(least_cost_by_trying_all(cost, rows, columns)).margin(1e-12));
}

TEST_CASE("no swap of two columns makes a large assignment cheaper") {
  std::mt19937 random(GENERATE(range(0u, 5u)));
  const std::size_t rows = 60 + random() % 40, columns = 60 + random() % 80;
  const auto cost = real_numbers(random, rows * columns);
  const auto column_of = assign(cost, static_cast<std::int64_t>(rows), static_cast<std::int64_t>(columns));
  require_one_to_one(column_of, rows, columns);
  const auto at = [&](std::size_t row, std::int64_t column) {
    return column < 0 ? 0 : cost[row * columns + static_cast<std::size_t>(column)];
  };
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < i; ++j)
      CHECK(at(i, column_of[i]) + at(j, column_of[j]) <= at(i, column_of[j]) + at(j, column_of[i]) + 1e-12);
}

TEST_CASE("an assignment hidden in a matrix is found") {
  std::mt19937 random(GENERATE(range(0u, 5u)));
  constexpr std::size_t rows = 150, columns = 300;
  std::vector<std::int64_t> hidden(columns);
  std::iota(hidden.begin(), hidden.end(), 0);
  std::shuffle(hidden.begin(), hidden.end(), random);
  hidden.resize(rows);
  std::vector<double> cost(rows * columns);
  for (double& value : cost) value = 1 + static_cast<double>(random() % 1000) / 1000;
  for (std::size_t row = 0; row < rows; ++row) cost[row * columns + static_cast<std::size_t>(hidden[row])] = 0.5;
  CHECK(assign(cost, rows, columns) == hidden);
}

TEST_CASE("an assignment of no rows is empty, and invalid costs are refused") {
  CHECK(assign({}, 0, 5).empty());
  CHECK(assign({}, 2, 0) == std::vector<std::int64_t>{-1, -1});
  CHECK_THROWS_AS(assign(std::vector<double>{1, 2, 3}, 2, 2), std::invalid_argument);
  CHECK_THROWS_AS(assign(std::vector<double>{1, infinity}, 1, 2), std::invalid_argument);
  CHECK_THROWS_AS(assign(std::vector<double>{1, nan}, 1, 2), std::invalid_argument);
}

TEST_CASE("rank correlation, with ties, is that of the textbook") {
  // Ranks 1 2.5 2.5 4 5 and 2 1 3 4 5: deviations' products add up to 8, their squares to 9.5 and 10. The p-value by
  // integration of Student's density with 3 degrees of freedom.
  const auto found = spearman({1, 2, 2, 3, 9}, {20, 10, 30, 40, 50});
  REQUIRE(found);
  CHECK(found->rho == Approx(8 / std::sqrt(95.0)));
  const double t = found->rho * std::sqrt(3 / (1 - found->rho * found->rho));
  double tail = 0;
  constexpr double step = 1e-4;
  for (double x = t; x < 2000; x += step) {
    tail += step * 6 * std::sqrt(3.0) / (M_PI * std::pow(3 + (x + step / 2) * (x + step / 2), 2));
  }
  CHECK(found->p_value == Approx(2 * tail).epsilon(1e-4));
  CHECK(spearman({1, 2, 3, 4}, {8, 6, 4, -std::numeric_limits<double>::infinity()})->rho == -1);
}

TEST_CASE("rank correlation is null where it is undefined, and refuses NaN and different lengths") {
  CHECK_FALSE(spearman({1, 2, 3}, {1, 2, 3}));
  CHECK_FALSE(spearman({1, 2, 3, 4}, {5, 5, 5, 5}));
  CHECK_THROWS_AS(spearman({1, 2, 3, 4}, {1, 2, 3}), std::invalid_argument);
  CHECK_THROWS_AS(spearman({1, 2, 3, std::nan("")}, {1, 2, 3, 4}), std::invalid_argument);
}

TEST_CASE("the interval of the mean is Student's t, as in a table") {
  const MeanInterval interval = mean_interval({1, 2, 3});
  CHECK(interval.mean == Approx(2));
  CHECK(interval.high - interval.mean == Approx(4.302652730 / std::sqrt(3.0)));  // t(2), 97.5 %
  CHECK(interval.mean - interval.low == Approx(interval.high - interval.mean));
  CHECK_THROWS_AS(mean_interval({1}), std::invalid_argument);
}

TEST_CASE("the p-value of an AUC is that of membership at random, of one and of the mean of several") {
  std::mt19937 random(5);
  constexpr std::size_t members = 15, control = 60;
  for (const std::int64_t repeats : {1, 3}) {
    const double auc = repeats == 1 ? 0.62 : 0.58;
    int as_large = 0;
    constexpr int trials = 4000;
    for (int trial = 0; trial < trials; ++trial) {
      double mean = 0;
      for (int k = 0; k < repeats; ++k) {
        mean += membership_of(real_numbers(random, members), real_numbers(random, control)).auc /
                static_cast<double>(repeats);
      }
      as_large += mean >= auc ? 1 : 0;
    }
    CHECK(auc_p_value(auc, members, control, repeats) == Approx(as_large / static_cast<double>(trials)).margin(0.015));
  }
  CHECK(auc_p_value(0.5, 10, 10) == Approx(0.5));
  CHECK_THROWS_AS(auc_p_value(0.5, 0, 10), std::invalid_argument);
}

TEST_CASE("frequencies of classes are compared by Pearson's test") {
  // 2 x 2 by hand: counts 10, 20 and 30, 20 have statistic 16/3, which one degree of freedom exceeds with 0.0209.
  CHECK(same_frequencies_p_value({10, 20}, {30, 20}) == Approx(0.020921).epsilon(1e-3));
  CHECK(same_frequencies_p_value({10, 20, 0}, {100, 200, 0}) == Approx(1));
  CHECK(same_frequencies_p_value({50, 50}, {900, 100}) < 1e-10);
  CHECK(same_frequencies_p_value({5, 0}, {7, 0}) == 1);
  CHECK(same_frequencies_p_value({}, {}) == 1);
  CHECK_THROWS_AS(same_frequencies_p_value({1}, {1, 2}), std::invalid_argument);
  CHECK_THROWS_AS(same_frequencies_p_value({-1, 2}, {1, 2}), std::invalid_argument);
}

}  // namespace afterimage
