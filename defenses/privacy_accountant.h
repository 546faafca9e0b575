// How much privacy noisy training spends, by Renyi differential privacy (RDP).
//
// One step releases a sum of vectors of norm at most C, over images that are each drawn with probability q by itself
// (Poisson sampling), plus noise N(0, (sigma C)^2 I). With or without one image the outcomes are no further apart than
// (1 - q) N(0, sigma^2) + q N(1, sigma^2) and N(0, sigma^2), whose Renyi divergence of order a is log A / (a - 1) with
// A = E_{z ~ N(0, sigma^2)} (1 - q + q exp((2z - 1) / (2 sigma^2)))^a (Mironov, Talwar, Zhang 2019, arXiv 1908.10530,
// section 3; the divergence in the other direction is no larger). Divergences of one order add up over steps. The
// epsilon that follows is an upper bound: composing the distributions of the loss numerically would give a smaller one.
// All in float64, sums in log space.
#pragma once

#include <cstdint>
#include <vector>

namespace afterimage {

// The Gaussian mechanism on Poisson samples, `steps` times.
struct SampledGaussian {
  double noise_multiplier = 0;  // sigma >= 0: standard deviation of the noise over the largest norm of what one adds
  double sampling_rate = 1;     // q in [0, 1]
  std::int64_t steps = 1;
};

// Of all its steps together, for an order above 1, whole (a finite sum) or not (two series, split where both parts of
// the mixture weigh the same). Infinite without noise.
double renyi_divergence(const SampledGaussian& mechanism, double order);

// From RDP (a, r) to (epsilon, delta).
enum class Conversion {
  classic,   // r + log(1 / delta) / (a - 1): Mironov 2017, arXiv 1702.07476, proposition 3
  improved,  // r + log(1 - 1 / a) - log(delta a) / (a - 1): Balle et al. 2020, arXiv 1905.09982, theorem 21; Canonne,
             // Kamath, Steinke 2020, arXiv 2004.00010, proposition 12; what TF-Privacy and Opacus use today
};

struct PrivacySpent {
  double epsilon;  // at least 0, infinite without noise
  double order;    // at which it is smallest
};

// The smallest epsilon over all orders from 1.01 to 10,000, of mechanisms one after the other; delta in (0, 1). In the
// order it falls and then rises: a - 1 times it is convex.
PrivacySpent privacy_spent(const std::vector<SampledGaussian>& mechanisms, double delta,
                           Conversion conversion = Conversion::improved);
// The same over these orders only, at least one.
PrivacySpent privacy_spent(const std::vector<SampledGaussian>& mechanisms, double delta, Conversion conversion,
                           const std::vector<double>& orders);

// The noise multiplier with which so many steps spend `epsilon` (above 0) at most, and within 1e-6 of itself no more
// than is needed. The improved conversion. Throws UsageError where no noise up to 1e6 is enough.
double noise_multiplier_for(double epsilon, double delta, double sampling_rate, std::int64_t steps);

}  // namespace afterimage
