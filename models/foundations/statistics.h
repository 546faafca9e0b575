// The statistics of scoring: rates with intervals, exact tests, membership curves, assignment. No tensor library.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace afterimage {

struct Rate {
  std::int64_t count = 0, of = 0;
  double rate = 0;
  double ci95_low = 0, ci95_high = 1;  // Clopper-Pearson, two-sided
};

// Throws std::invalid_argument unless 0 <= count <= of and of > 0.
Rate rate_of(std::int64_t count, std::int64_t of);

// Mean and two-sided 95 % interval of Student's t, of at least two values.
struct MeanInterval {
  double mean = 0, low = 0, high = 0;
};
// Throws std::invalid_argument on fewer than two.
MeanInterval mean_interval(const std::vector<double>& values);

// One-sided Fisher exact test: the probability that, with membership assigned at random, the members hold at least as
// many of the (members + control) successes as they do. Throws std::invalid_argument on a rate of nothing.
double fisher_p_value(const Rate& members, const Rate& control);

// The smallest value below which at most the share `q` of `values` lies (type-1 empirical quantile: element floor(q n)
// in ascending order, from zero). Throws std::invalid_argument when empty, on NaN, or unless 0 <= q <= 1.
double quantile(std::vector<double> values, double q);

enum class BoundMethod { clopper_pearson, one_run, f_dp_one_run };

// A lower bound on the epsilon of whatever trained the network, at `delta` (models/foundations/privacy_bounds.h).
struct EpsilonLowerBound {
  double value = 0, delta = 0, confidence = 0;
  BoundMethod method = BoundMethod::clopper_pearson;
  double ceiling = 0;        // the largest value that so many records can show
  std::int64_t guesses = 0;  // records that were guessed
};

// How well scores tell members from control images (larger = more like a member).
struct Membership {
  double auc = 0.5;                                         // ties count one half
  std::optional<double> tpr_at_fpr_0_01, tpr_at_fpr_0_001;  // null with fewer than 1 / rate control scores
  double advantage = 0;                                     // max over thresholds of TPR - FPR
  std::vector<std::pair<double, double>> roc;               // (FPR, TPR), (0,0) first, (1,1) last, corners only
  std::optional<EpsilonLowerBound> epsilon_lower_bound = {};
};
// Throws std::invalid_argument when either has no scores or one that is NaN.
Membership membership_of(std::span<const double> members, std::span<const double> control);

// The one-sided probability of an AUC at least as large with membership assigned at random: Mann and Whitney's, normal
// approximation, variance (m + n + 1) / (12 m n). Of the mean of several such AUCs where `repeats` > 1. Throws
// std::invalid_argument unless all counts are above zero.
double auc_p_value(double auc, std::int64_t members, std::int64_t control, std::int64_t repeats = 1);

// Pearson's chi-squared test of whether two samples have the same classes as often, from their counts of each class; 1
// with fewer than two classes that occur. Throws std::invalid_argument unless both have as many counts, none below
// zero.
double same_frequencies_p_value(const std::vector<std::int64_t>& a, const std::vector<std::int64_t>& b);

// Spearman's rank correlation, equal values sharing their mean rank, with the two-sided p-value of Student's t with n -
// 2 degrees of freedom. Infinite values have ranks as others do. Null with fewer than four pairs, or when either does
// not vary. Throws std::invalid_argument on NaN, or lengths that differ.
struct RankCorrelation {
  double rho = 0;
  double p_value = 1;
};
std::optional<RankCorrelation> spearman(const std::vector<double>& a, const std::vector<double>& b);

// One-to-one assignment of rows to columns with the least total cost (Hungarian method, O(rows^2 * columns)).
// `cost` is row-major [rows, columns]. Returns the column of each row; -1 where columns ran out (rows > columns): then
// the assigned rows are those of the least total cost. Throws std::invalid_argument when a cost is not finite or their
// number is wrong.
std::vector<std::int64_t> assign(std::span<const double> cost, std::int64_t rows, std::int64_t columns);

}  // namespace afterimage
