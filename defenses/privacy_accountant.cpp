#include "defenses/privacy_accountant.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/math/tools/minima.hpp>
#include <boost/math/tools/roots.hpp>
#include <cmath>
#include <limits>
#include <numbers>

#include "models/foundations/error.h"

namespace afterimage {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// log(exp(x^2) erfc(x)), x >= 0.
double log_scaled_erfc(double x) {
  constexpr double far = 10;  // from where the asymptotic series has terms below 1e-15
  if (x < far) return std::log(std::erfc(x)) + x * x;
  double term = 1, sum = 1;
  for (int k = 1; std::abs(term) > std::numeric_limits<double>::epsilon(); ++k) {
    term *= -(2 * k - 1) / (2 * x * x);
    sum += term;
  }
  return std::log(sum / x) - std::log(std::numbers::pi) / 2;
}

// The logarithm of a sum whose terms are known by their logarithms and signs.
class LogSum {
 public:
  void add(double logarithm, double factor = 1) {
    if (logarithm > largest_) {
      sum_ *= std::exp(largest_ - logarithm);
      largest_ = logarithm;
    }
    sum_ += factor * std::exp(logarithm - largest_);
  }
  double largest() const { return largest_; }
  double value() const { return largest_ + std::log(sum_); }

 private:
  double largest_ = -infinity, sum_ = 0;
};

// log A of a whole order. The weights of the binomial sum add up to 1, so A - 1 is a sum of what the terms exceed their
// weights by: nothing cancels, however close to 1 A is.
double log_moment_whole(double sigma, double q, std::int64_t order) {
  const double log_q = std::log(q), log_rest = std::log1p(-q);
  LogSum excess;
  double log_binomial = 0;
  for (std::int64_t i = 0; i <= order; ++i) {
    const auto k = static_cast<double>(i), rest = static_cast<double>(order - i);
    if (i >= 2) {
      const double exponent = k * (k - 1) / (2 * sigma * sigma);
      excess.add(log_binomial + k * log_q + rest * log_rest + exponent + std::log(-std::expm1(-exponent)));
    }
    if (i < order) log_binomial += std::log(rest / (k + 1));
  }
  const double value = excess.value();
  return std::max(value, 0.0) + std::log1p(std::exp(-std::abs(value)));
}

// log A of any order: both sides of z0, where the two parts of the mixture weigh the same, as binomial series in the
// smaller over the larger. A term is binomial(a, i) (1 - q)^(a - k) q^k exp((k^2 - k) / (2 sigma^2)) times the mass
// that N(k, sigma^2) has on that side, k = i below and k = a - i above. Where that mass is a tail, the exponents cancel
// but for the same constant in both series, which leaves binomial(a, i) and a scaled error function.
double log_moment(double sigma, double q, double order) {
  constexpr double negligible = 1e-13;  // of the largest term; from the order on, terms fall and signs alternate
  const double log_q = std::log(q), log_rest = std::log1p(-q);
  const double z0 = 0.5 + sigma * sigma * (log_rest - log_q);
  const double tail = order * log_rest - z0 * z0 / (2 * sigma * sigma);
  const auto log_term = [&](double k, double beyond) {  // `beyond`: how far k lies on the other side of z0
    const double x = beyond / (std::numbers::sqrt2 * sigma);
    if (x > 0) return tail + log_scaled_erfc(x);
    return (order - k) * log_rest + k * log_q + (k * k - k) / (2 * sigma * sigma) + std::log(std::erfc(x));
  };
  LogSum twice;
  double log_binomial = 0, sign = 1;
  for (double i = 0;; ++i) {
    const double below = log_binomial + log_term(i, i - z0);
    const double above = log_binomial + log_term(order - i, z0 - (order - i));
    const bool last = i > order && std::max(below, above) < twice.largest() + std::log(negligible);
    // Half of the last term: the mean of two partial sums, between which the limit lies.
    const double factor = last ? sign / 2 : sign;
    twice.add(below, factor);
    twice.add(above, factor);
    if (last) break;
    const double ratio = (order - i) / (i + 1);
    log_binomial += std::log(std::abs(ratio));
    if (ratio < 0) sign = -sign;
  }
  return std::max(twice.value() - std::numbers::ln2, 0.0);
}

double epsilon_at(const std::vector<SampledGaussian>& mechanisms, double delta, Conversion conversion, double order) {
  double divergence = 0;
  for (const auto& mechanism : mechanisms) divergence += renyi_divergence(mechanism, order);
  const double epsilon = conversion == Conversion::classic
                             ? divergence - std::log(delta) / (order - 1)
                             : divergence + std::log1p(-1 / order) - std::log(delta * order) / (order - 1);
  return std::max(epsilon, 0.0);
}

}  // namespace

double renyi_divergence(const SampledGaussian& mechanism, double order) {
  const auto [sigma, q, steps] = mechanism;
  if (steps == 0 || q == 0) return 0;
  if (sigma == 0) return infinity;
  const auto count = static_cast<double>(steps);
  if (q == 1) return count * order / (2 * sigma * sigma);
  const double moment = order == std::floor(order) ? log_moment_whole(sigma, q, static_cast<std::int64_t>(order))
                                                   : log_moment(sigma, q, order);
  return count * moment / (order - 1);
}

PrivacySpent privacy_spent(const std::vector<SampledGaussian>& mechanisms, double delta, Conversion conversion,
                           const std::vector<double>& orders) {
  PrivacySpent best{infinity, orders.front()};
  for (const double order : orders) {
    const double epsilon = epsilon_at(mechanisms, delta, conversion, order);
    if (epsilon < best.epsilon) best = {epsilon, order};
  }
  return best;
}

PrivacySpent privacy_spent(const std::vector<SampledGaussian>& mechanisms, double delta, Conversion conversion) {
  constexpr double lowest = 1e-2, highest = 1e4;  // of order - 1
  const auto order_at = [](double position) { return 1 + std::exp(position); };
  const auto epsilon = [&](double position) { return epsilon_at(mechanisms, delta, conversion, order_at(position)); };
  if (std::isinf(epsilon(0))) return {infinity, order_at(0)};
  const auto [position, least] = boost::math::tools::brent_find_minima(epsilon, std::log(lowest), std::log(highest),
                                                                       std::numeric_limits<double>::digits / 2);
  return {least, order_at(position)};
}

double noise_multiplier_for(double epsilon, double delta, double sampling_rate, std::int64_t steps) {
  constexpr double most = 1e6;
  const auto excess = [&](double log_noise) {
    return privacy_spent({{std::exp(log_noise), sampling_rate, steps}}, delta).epsilon - epsilon;
  };
  double low = 0, high = 0;  // in the logarithm: epsilon falls with it
  while (excess(low) <= 0) low -= 1;
  while (excess(high) > 0) {
    high += 1;
    if (high > std::log(most)) {
      throw UsageError(fmt::format("--epsilon {}: no noise reaches that with --delta {}; give a larger value of either",
                                   epsilon, delta));
    }
  }
  const auto close = [](double from, double to) { return to - from < 1e-7; };
  return std::exp(boost::math::tools::bisect(excess, low, high, close).second);
}

}  // namespace afterimage
