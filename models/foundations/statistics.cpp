#include "models/foundations/statistics.h"

#include <algorithm>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/chi_squared.hpp>
#include <boost/math/distributions/hypergeometric.hpp>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <limits>
#include <numeric>

#include "models/foundations/require.h"

namespace afterimage {
namespace {

constexpr double tail = 0.025;  // on each side of a 95 % interval

// From 1, equal values sharing their mean rank.
std::vector<double> ranks(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) { return values[i] < values[j]; });
  std::vector<double> result(values.size());
  for (std::size_t first = 0, last = 0; first < order.size(); first = last) {
    while (last < order.size() && values[order[last]] == values[order[first]]) ++last;
    for (std::size_t k = first; k < last; ++k) result[order[k]] = static_cast<double>(first + last + 1) / 2;
  }
  return result;
}

bool any_nan(std::span<const double> values) {
  return std::any_of(values.begin(), values.end(), [](double value) { return std::isnan(value); });
}

std::vector<double> descending(std::span<const double> values) {
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  return sorted;
}

// How many members and control images score at least as high as some threshold.
struct Corner {
  std::int64_t members = 0, control = 0;
};

// The counts at every threshold that matters, from none to all: one step for each distinct score.
std::vector<Corner> thresholds(std::span<const double> members, std::span<const double> control) {
  const auto ours = descending(members), theirs = descending(control);
  std::vector<Corner> steps = {{0, 0}};
  std::size_t i = 0, j = 0;
  while (i < ours.size() || j < theirs.size()) {
    const double score = i == ours.size() ? theirs[j] : j == theirs.size() ? ours[i] : std::max(ours[i], theirs[j]);
    while (i < ours.size() && ours[i] == score) ++i;
    while (j < theirs.size() && theirs[j] == score) ++j;
    steps.push_back({static_cast<std::int64_t>(i), static_cast<std::int64_t>(j)});
  }
  return steps;
}

// Twice the number of (member, control) pairs in the right order, ties counting one: whole numbers, so exact.
std::int64_t doubled_area(const std::vector<Corner>& steps) {
  std::int64_t area = 0;
  for (std::size_t k = 1; k < steps.size(); ++k)
    area += (steps[k].control - steps[k - 1].control) * (steps[k].members + steps[k - 1].members);
  return area;
}

// Whether b lies on the straight line from a to c.
bool in_line(const Corner& a, const Corner& b, const Corner& c) {
  return (b.members - a.members) * (c.control - b.control) == (c.members - b.members) * (b.control - a.control);
}

std::vector<Corner> without_straight_runs(const std::vector<Corner>& steps) {
  std::vector<Corner> corners;
  for (const Corner& step : steps) {
    while (corners.size() >= 2 && in_line(corners[corners.size() - 2], corners.back(), step)) corners.pop_back();
    corners.push_back(step);
  }
  return corners;
}

// The best true positive rate among thresholds that let at most 1 / `one_in` of the control images through.
std::optional<double> tpr_at(const std::vector<Corner>& steps, std::int64_t one_in) {
  const Corner& all = steps.back();
  if (all.control < one_in) return std::nullopt;
  std::int64_t best = 0;
  for (const Corner& step : steps)
    if (step.control * one_in <= all.control) best = std::max(best, step.members);
  return static_cast<double>(best) / static_cast<double>(all.members);
}

// Shortest augmenting paths with row and column potentials, for rows <= columns; one row joins the matching at a time.
class Matching {
 public:
  Matching(std::span<const double> cost, std::size_t rows, std::size_t columns)
      : cost_(cost), columns_(columns), row_price_(rows, 0), column_price_(columns, 0), owner_(columns, none) {}

  std::vector<std::int64_t> solve() {
    for (std::size_t row = 0; row < row_price_.size(); ++row) add(row);
    std::vector<std::int64_t> column_of(row_price_.size(), -1);
    for (std::size_t column = 0; column < columns_; ++column)
      if (owner_[column] != none) column_of[owner_[column]] = static_cast<std::int64_t>(column);
    return column_of;
  }

 private:
  static constexpr std::size_t none = std::numeric_limits<std::size_t>::max();

  // Dijkstra over reduced costs from `row` to the nearest free column, then flips the path. `settled` holds the columns
  // whose distance is final and `open` the others: the free ones first, so that among equals the search is over.
  void add(std::size_t row) {
    std::vector<double> distance(columns_, std::numeric_limits<double>::infinity());
    std::vector<std::size_t> previous(columns_, none);
    std::vector<std::size_t> open = free_first(), settled;
    std::size_t from = row, column = none;  // `column`: the one just settled, owned by `from`
    double reached = 0;
    while (true) {
      const double* costs = cost_.data() + from * columns_;
      const double offset = reached - row_price_[from];
      std::size_t best = 0;
      for (std::size_t k = 0; k < open.size(); ++k) {
        const std::size_t to = open[k];
        const double through = offset + costs[to] - column_price_[to];
        if (through < distance[to]) {
          distance[to] = through;
          previous[to] = column;
        }
        if (distance[to] < distance[open[best]]) best = k;
      }
      column = open[best];
      reached = distance[column];
      if (owner_[column] == none) break;
      open[best] = open.back();
      open.pop_back();
      settled.push_back(column);
      from = owner_[column];
    }
    reprice(row, settled, distance, reached);
    flip(row, column, previous);
  }

  std::vector<std::size_t> free_first() const {
    std::vector<std::size_t> columns(columns_);
    std::iota(columns.begin(), columns.end(), std::size_t{0});
    std::stable_partition(columns.begin(), columns.end(), [&](std::size_t column) { return owner_[column] == none; });
    return columns;
  }

  // Keeps every reduced cost non-negative, and zero along the matching and the new path.
  void reprice(std::size_t row, const std::vector<std::size_t>& settled, const std::vector<double>& distance,
               double reached) {
    row_price_[row] += reached;
    for (const std::size_t column : settled) {
      row_price_[owner_[column]] += reached - distance[column];
      column_price_[column] -= reached - distance[column];
    }
  }

  void flip(std::size_t row, std::size_t column, const std::vector<std::size_t>& previous) {
    while (previous[column] != none) {
      owner_[column] = owner_[previous[column]];
      column = previous[column];
    }
    owner_[column] = row;
  }

  std::span<const double> cost_;
  std::size_t columns_;
  std::vector<double> row_price_, column_price_;
  std::vector<std::size_t> owner_;  // the row that holds each column
};

std::vector<double> transposed(std::span<const double> values, std::size_t rows, std::size_t columns) {
  std::vector<double> result(values.size());
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < columns; ++j) result[j * rows + i] = values[i * columns + j];
  return result;
}

std::vector<std::int64_t> inverse(const std::vector<std::int64_t>& column_of, std::size_t columns) {
  std::vector<std::int64_t> row_of(columns, -1);
  for (std::size_t row = 0; row < column_of.size(); ++row)
    row_of[static_cast<std::size_t>(column_of[row])] = static_cast<std::int64_t>(row);
  return row_of;
}

}  // namespace

Rate rate_of(std::int64_t count, std::int64_t of) {
  require(of > 0 && 0 <= count && count <= of, "a rate needs 0 <= count <= of and of > 0");
  using boost::math::binomial_distribution;
  const auto successes = static_cast<double>(count), trials = static_cast<double>(of);
  Rate rate{count, of, successes / trials, 0, 1};
  if (count > 0) rate.ci95_low = binomial_distribution<>::find_lower_bound_on_p(trials, successes, tail);
  if (count < of) rate.ci95_high = binomial_distribution<>::find_upper_bound_on_p(trials, successes, tail);
  return rate;
}

MeanInterval mean_interval(const std::vector<double>& values) {
  if (values.size() < 2) throw std::invalid_argument("an interval takes at least two values");
  const double count = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  const double t = boost::math::quantile(boost::math::complement(boost::math::students_t(count - 1), tail));
  const double half = t * std::sqrt(squares / (count - 1) / count);
  return {mean, mean - half, mean + half};
}

double fisher_p_value(const Rate& members, const Rate& control) {
  require(members.of > 0 && 0 <= members.count && members.count <= members.of,
          "the members' rate needs 0 <= count <= of and of > 0");
  require(control.of > 0 && 0 <= control.count && control.count <= control.of,
          "the control's rate needs 0 <= count <= of and of > 0");
  const std::int64_t total = members.of + control.of, successes = members.count + control.count;
  require(total <= std::numeric_limits<int>::max(), "too many images for an exact test");
  const std::int64_t fewest = std::max<std::int64_t>(0, successes - control.of);
  if (members.count <= fewest) return 1;
  const boost::math::hypergeometric_distribution<> chance(
      static_cast<unsigned>(successes), static_cast<unsigned>(members.of), static_cast<unsigned>(total));
  const double p = boost::math::cdf(boost::math::complement(chance, static_cast<unsigned>(members.count - 1)));
  return std::clamp(p, 0.0, 1.0);
}

double quantile(std::vector<double> values, double q) {
  require(!values.empty(), "a quantile needs at least one value");
  require(0 <= q && q <= 1, "a quantile needs a share between 0 and 1");
  require(!any_nan(values), "a quantile needs values that are numbers");
  constexpr double rounding = 1e-9;  // so that 0.29 * 100 is 29
  const auto below = static_cast<std::size_t>(std::floor(q * static_cast<double>(values.size()) + rounding));
  const auto element = values.begin() + static_cast<std::ptrdiff_t>(std::min(below, values.size() - 1));
  std::nth_element(values.begin(), element, values.end());
  return *element;
}

Membership membership_of(std::span<const double> members, std::span<const double> control) {
  require(!members.empty() && !control.empty(), "membership needs scores of members and of control images");
  require(!any_nan(members) && !any_nan(control), "membership needs scores that are numbers");
  const auto steps = thresholds(members, control);
  const auto ours = static_cast<double>(members.size()), theirs = static_cast<double>(control.size());
  Membership result;
  result.auc = static_cast<double>(doubled_area(steps)) / (2 * ours * theirs);
  result.tpr_at_fpr_0_01 = tpr_at(steps, 100);
  result.tpr_at_fpr_0_001 = tpr_at(steps, 1000);
  for (const Corner& step : steps) {
    const double advantage = static_cast<double>(step.members) / ours - static_cast<double>(step.control) / theirs;
    result.advantage = std::max(result.advantage, advantage);
  }
  for (const Corner& corner : without_straight_runs(steps))
    result.roc.emplace_back(static_cast<double>(corner.control) / theirs, static_cast<double>(corner.members) / ours);
  return result;
}

double auc_p_value(double auc, std::int64_t members, std::int64_t control, std::int64_t repeats) {
  require(members > 0 && control > 0 && repeats > 0, "an AUC needs members, control images and a repeat");
  const double m = static_cast<double>(members), n = static_cast<double>(control);
  const double deviation = std::sqrt((m + n + 1) / (12 * m * n * static_cast<double>(repeats)));
  return boost::math::cdf(boost::math::complement(boost::math::normal(0.5, deviation), auc));
}

double same_frequencies_p_value(const std::vector<std::int64_t>& a, const std::vector<std::int64_t>& b) {
  require(a.size() == b.size(), "both samples have to be counted in the same classes");
  double of_a = 0, of_b = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    require(a[i] >= 0 && b[i] >= 0, "counts may not be below zero");
    of_a += static_cast<double>(a[i]);
    of_b += static_cast<double>(b[i]);
  }
  double statistic = 0;
  int classes = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double both = static_cast<double>(a[i] + b[i]);
    if (both == 0) continue;
    ++classes;
    for (const auto& [count, of] : {std::pair(a[i], of_a), std::pair(b[i], of_b)}) {
      const double expected = both * of / (of_a + of_b);
      if (expected > 0) statistic += std::pow(static_cast<double>(count) - expected, 2) / expected;
    }
  }
  if (classes < 2 || of_a == 0 || of_b == 0) return 1;
  return boost::math::cdf(boost::math::complement(boost::math::chi_squared(classes - 1), statistic));
}

std::optional<RankCorrelation> spearman(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) throw std::invalid_argument("a rank correlation needs as many values of both");
  if (any_nan(a) || any_nan(b)) throw std::invalid_argument("NaN has no rank");
  if (a.size() < 4) return std::nullopt;
  const std::vector<double> x = ranks(a), y = ranks(b);
  const double centre = (static_cast<double>(a.size()) + 1) / 2;
  double xy = 0, xx = 0, yy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xy += (x[i] - centre) * (y[i] - centre);
    xx += (x[i] - centre) * (x[i] - centre);
    yy += (y[i] - centre) * (y[i] - centre);
  }
  if (xx == 0 || yy == 0) return std::nullopt;
  const double rho = std::clamp(xy / std::sqrt(xx * yy), -1.0, 1.0), freedom = static_cast<double>(a.size()) - 2;
  if (std::abs(rho) == 1) return RankCorrelation{rho, 0};
  const double t = std::abs(rho) * std::sqrt(freedom / (1 - rho * rho));
  return RankCorrelation{rho, 2 * boost::math::cdf(boost::math::complement(boost::math::students_t(freedom), t))};
}

std::vector<std::int64_t> assign(std::span<const double> cost, std::int64_t rows, std::int64_t columns) {
  require(rows >= 0 && columns >= 0 && static_cast<std::int64_t>(cost.size()) == rows * columns,
          "an assignment needs rows * columns costs");
  require(std::all_of(cost.begin(), cost.end(), [](double value) { return std::isfinite(value); }),
          "an assignment needs finite costs");
  const auto n = static_cast<std::size_t>(rows), m = static_cast<std::size_t>(columns);
  if (n <= m) return Matching(cost, n, m).solve();
  return inverse(Matching(transposed(cost, n, m), m, n).solve(), n);
}

}  // namespace afterimage
