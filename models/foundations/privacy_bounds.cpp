#include "models/foundations/privacy_bounds.h"

#include <algorithm>
#include <array>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/normal.hpp>
#include <cmath>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "models/foundations/require.h"

namespace afterimage {
namespace {

// In double: the library's own default is long double, several times slower.
using InDouble = boost::math::policies::policy<boost::math::policies::promote_double<false>>;
using Binomial = boost::math::binomial_distribution<double, InDouble>;
using Normal = boost::math::normal_distribution<double, InDouble>;

constexpr double largest_epsilon = 128;  // no count of records that fits in memory shows more
constexpr int bisections = 34;           // to below 1e-10 of the value

void check(const Guesses& guesses, double delta, double significance) {
  require(guesses.of > 0 && guesses.right >= 0 && guesses.right <= guesses.of,
          "guesses that are right have to be from 0 to as many as there are, which are above 0");
  require(delta >= 0 && delta < 1, "delta has to be at least 0 and below 1");
  require(significance > 0 && significance < 1, "the significance has to be above 0 and below 1");
}

// One-sided limits of Clopper and Pearson.
double at_least(const Guesses& guesses, double significance) {
  return Binomial::find_lower_bound_on_p(static_cast<double>(guesses.of), static_cast<double>(guesses.right),
                                         significance);
}

double at_most(const Guesses& guesses, double significance) {
  return Binomial::find_upper_bound_on_p(static_cast<double>(guesses.of), static_cast<double>(guesses.right),
                                         significance);
}

Guesses wrong(const Guesses& guesses) { return {guesses.of - guesses.right, guesses.of}; }

double log_ratio(double rate, double delta, double other) {
  return rate > delta ? std::log((rate - delta) / other) : -std::numeric_limits<double>::infinity();
}

// The largest value in [0, largest_epsilon] that is refuted, 0 where none is. What is below a refuted value is too.
template <class Refuted>
double largest_refuted(const Refuted& refuted) {
  if (!refuted(0.0)) return 0;
  double low = 0, high = 1;
  while (high < largest_epsilon && refuted(high)) low = std::exchange(high, 2 * high);
  for (int i = 0; i < bisections; ++i) {
    const double middle = (low + high) / 2;
    (refuted(middle) ? low : high) = middle;
  }
  return low;
}

// ln P[Bin(n, 1 / (1 + e^-epsilon)) = k], also where the probability itself is too small for a double.
double log_binomial(std::int64_t n, std::int64_t k, double epsilon) {
  const auto log_factorial = [](std::int64_t value) { return std::lgamma(static_cast<double>(value) + 1); };
  return log_factorial(n) - log_factorial(k) - log_factorial(n - k) -
         static_cast<double>(k) * std::log1p(std::exp(-epsilon)) -
         static_cast<double>(n - k) * (epsilon + std::log1p(std::exp(-epsilon)));
}

// An upper bound on the probability that at least so many guesses are right under (epsilon, delta).
double one_run_p_value(const Guesses& guesses, std::int64_t canaries, double epsilon, double delta) {
  const double q = 1 / (1 + std::exp(-epsilon));
  const Binomial chance(static_cast<double>(guesses.of), q);
  if (guesses.right == 0) return 1;
  const auto at_least_right = [&](std::int64_t right) {
    return boost::math::cdf(boost::math::complement(chance, static_cast<double>(right - 1)));
  };
  const double p = at_least_right(guesses.right);
  if (delta == 0) return p;
  double most = 0, between = 0;  // between: P[right - i <= Bin < right]
  double log_density = log_binomial(guesses.of, guesses.right - 1, epsilon);
  for (std::int64_t i = 1; i <= guesses.right; ++i) {
    between += std::exp(log_density);
    most = std::max(most, between / static_cast<double>(i));
    const auto k = static_cast<double>(guesses.right - i);  // P[Bin = k - 1] from P[Bin = k]
    log_density += std::log(k / (static_cast<double>(guesses.of) - k + 1)) - epsilon;
  }
  return std::min(1.0, p + 2 * static_cast<double>(canaries) * delta * most);
}

// Whether so many right guesses have a probability of at most `significance` under mu-GDP: the recursion bounds from
// below, guess count by guess count, how probability has to fall away; where more than all there is would be needed,
// the hypothesis is refuted.
bool refutes_gaussian(const Guesses& guesses, std::int64_t canaries, double mu, double significance) {
  const Normal standard;
  // The inverse of 1 - f, where f(x) = Phi(Phi^-1(1 - x) - mu) is the trade-off of mu-GDP.
  const auto least_wrong = [&](double right) {
    if (right <= 0) return 0.0;
    if (right >= 1) return 1.0;
    return boost::math::cdf(standard, boost::math::quantile(standard, right) - mu);
  };
  const double of = static_cast<double>(guesses.of), m = static_cast<double>(canaries);
  double right = significance * static_cast<double>(guesses.right) / m;
  double missed = significance * static_cast<double>(guesses.of - guesses.right) / m;
  for (std::int64_t i = guesses.right - 1; i >= 0; --i) {
    const double next = std::max(missed, least_wrong(right));
    right += static_cast<double>(i) / (of - static_cast<double>(i)) * (next - missed);
    missed = next;
    if (right + missed > of / m) return true;
  }
  return false;
}

struct Halves {
  std::vector<double> chosen_on, counted;
};

Halves halves_of(std::span<const double> scores, std::mt19937_64& random) {
  std::vector<double> all(scores.begin(), scores.end());
  require(std::none_of(all.begin(), all.end(), [](double score) { return std::isnan(score); }),
          "membership scores may not be NaN");
  std::shuffle(all.begin(), all.end(), random);
  const auto middle = all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2);
  return {{all.begin(), middle}, {middle, all.end()}};
}

// Scores from `threshold` on, or up to it, are taken for members.
struct Rule {
  double threshold = 0;
  bool from_above = true;

  Guesses right(const std::vector<double>& scores, bool are_members) const {
    const auto guessed = std::count_if(scores.begin(), scores.end(), [&](double score) {
      return from_above ? score >= threshold : score <= threshold;
    });
    const auto of = static_cast<std::int64_t>(scores.size());
    return {are_members ? guessed : of - guessed, of};
  }
};

// Half-way between neighbouring scores, in order; of many, the outermost and quantiles between.
std::vector<double> thresholds_of(const Halves& members, const Halves& others) {
  constexpr std::size_t ends = 32, between = 64;
  std::vector<double> all = members.chosen_on;
  all.insert(all.end(), others.chosen_on.begin(), others.chosen_on.end());
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  for (std::size_t i = 0; i + 1 < all.size(); ++i) {
    const double middle = all[i] / 2 + all[i + 1] / 2;
    all[i] = std::isfinite(middle) ? middle : all[i + 1];
  }
  if (all.size() > 1) all.pop_back();
  if (all.size() <= 2 * ends + between) return all;
  std::vector<double> some(all.begin(), all.begin() + ends);
  for (std::size_t i = 0; i < between; ++i) some.push_back(all[ends + i * (all.size() - 2 * ends) / between]);
  some.insert(some.end(), all.end() - ends, all.end());
  return some;
}

}  // namespace

namespace {

EpsilonLowerBound bound_in_one_run(std::span<const double> members, std::span<const double> others,
                                   const BoundRequest& request, std::mt19937_64& random) {
  constexpr std::array<double, 6> shares = {0.02, 0.05, 0.1, 0.2, 0.5, 1};  // of the records that are guessed
  std::vector<std::pair<double, bool>> records;
  for (const double score : members) records.emplace_back(score, true);
  for (const double score : others) records.emplace_back(score, false);
  require(std::none_of(records.begin(), records.end(), [](const auto& record) { return std::isnan(record.first); }),
          "membership scores may not be NaN");
  std::shuffle(records.begin(), records.end(), random);  // equal scores are in an order that says nothing
  std::stable_sort(records.begin(), records.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  const auto count = static_cast<std::int64_t>(records.size());
  const double significance = (1 - request.confidence) / static_cast<double>(shares.size());
  EpsilonLowerBound best{0, request.delta, request.confidence, BoundMethod::one_run, 0, 0};
  for (const double share : shares) {
    const std::int64_t side = std::max<std::int64_t>(1, std::llround(share * static_cast<double>(count) / 2));
    if (2 * side > count) continue;
    Guesses guesses{0, 2 * side};
    for (std::int64_t i = 0; i < side; ++i) {
      guesses.right += records[static_cast<std::size_t>(i)].second ? 1 : 0;
      guesses.right += records[static_cast<std::size_t>(count - 1 - i)].second ? 0 : 1;
    }
    const double value = epsilon_in_one_run(guesses, count, request.delta, significance);
    if (value > best.value || best.guesses == 0) best.guesses = guesses.of;
    best.value = std::max(best.value, value);
    best.ceiling =
        std::max(best.ceiling, epsilon_in_one_run({guesses.of, guesses.of}, count, request.delta, significance));
  }
  return best;
}

}  // namespace

std::optional<EpsilonLowerBound> epsilon_lower_bound(std::span<const double> members, std::span<const double> others,
                                                     const BoundRequest& request, std::uint64_t seed) {
  constexpr std::size_t fewest = 4;
  if (members.size() < fewest || others.size() < fewest) return std::nullopt;
  std::mt19937_64 random(seed);
  if (request.by_coin) return bound_in_one_run(members, others, request, random);
  const Halves ours = halves_of(members, random), theirs = halves_of(others, random);
  const double significance = 1 - request.confidence;
  Rule best;
  double most = -1;
  for (const double threshold : thresholds_of(ours, theirs)) {
    for (const bool from_above : {true, false}) {
      const Rule rule{threshold, from_above};
      const double value = epsilon_by_rates(rule.right(ours.chosen_on, true), rule.right(theirs.chosen_on, false),
                                            request.delta, significance);
      if (value > most) most = value, best = rule;
    }
  }
  const Guesses member_guesses = best.right(ours.counted, true), other_guesses = best.right(theirs.counted, false);
  return EpsilonLowerBound{epsilon_by_rates(member_guesses, other_guesses, request.delta, significance),
                           request.delta,
                           request.confidence,
                           BoundMethod::clopper_pearson,
                           epsilon_by_rates({member_guesses.of, member_guesses.of},
                                            {other_guesses.of, other_guesses.of}, request.delta, significance),
                           member_guesses.of + other_guesses.of};
}

double epsilon_by_rates(const Guesses& members, const Guesses& others, double delta, double significance) {
  check(members, delta, significance);
  check(others, delta, significance);
  const double half = significance / 2;
  const double forward = log_ratio(at_least(members, half), delta, at_most(wrong(others), half));
  const double mirrored = log_ratio(at_least(others, half), delta, at_most(wrong(members), half));
  return std::max({0.0, forward, mirrored});
}

double epsilon_in_one_run(const Guesses& guesses, std::int64_t canaries, double delta, double significance) {
  check(guesses, delta, significance);
  require(canaries >= guesses.of, "there cannot be more guesses than canaries");
  return largest_refuted(
      [&](double epsilon) { return one_run_p_value(guesses, canaries, epsilon, delta) <= significance; });
}

double epsilon_of_gaussian(double mu, double delta) {
  require(mu >= 0 && delta > 0 && delta < 1, "mu has to be at least 0, delta above 0 and below 1");
  if (mu == 0) return 0;
  const Normal standard;
  const auto larger = [&](double epsilon) {
    const double reached = boost::math::cdf(standard, mu / 2 - epsilon / mu) -
                           std::exp(epsilon) * boost::math::cdf(standard, -mu / 2 - epsilon / mu);
    return reached > delta;
  };
  return largest_refuted(larger);
}

double gaussian_epsilon_in_one_run(const Guesses& guesses, std::int64_t canaries, double delta, double significance) {
  check(guesses, delta, significance);
  require(canaries >= guesses.of, "there cannot be more guesses than canaries");
  require(delta > 0, "delta has to be above 0");
  const double mu =
      largest_refuted([&](double value) { return refutes_gaussian(guesses, canaries, value, significance); });
  return epsilon_of_gaussian(mu, delta);
}

}  // namespace afterimage
