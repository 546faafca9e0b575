// Lower bounds on the epsilon of differential privacy, from how often guesses of membership are right. No tensor
// library.
//
// All bounds are one-sided: epsilon is at least the value with probability 1 - significance over the draw of the
// records that were guessed. None is negative.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "models/foundations/statistics.h"

namespace afterimage {

struct Guesses {
  std::int64_t right = 0, of = 0;
};

// (epsilon, delta) from two rates at one threshold, which was not chosen on these records: the exact intervals of
// Clopper and Pearson, each at half the significance, in ln((TPR - delta) / FPR), and in the mirrored direction ln((TNR
// - delta) / FNR) (Nasr et al. 2021, arXiv 2101.04535; both at once cost no more significance, since they use the same
// two intervals). `members`: how many of the members were guessed to be members; `others`: how many of the others were
// guessed to be none. Throws std::invalid_argument on counts outside 0 <= right <= of, of > 0, on delta outside [0, 1)
// and significance outside (0, 1).
double epsilon_by_rates(const Guesses& members, const Guesses& others, double delta, double significance);

// (epsilon, delta) from one training run in which each of `canaries` records was included by a fair coin: `guesses.of`
// of them were guessed, the others abstained from (Steinke, Nasr & Jagielski 2023, arXiv 2305.08846, theorem 5.2 and
// proposition 5.4). Throws as above, and where there are more guesses than canaries.
double epsilon_in_one_run(const Guesses& guesses, std::int64_t canaries, double delta, double significance);

// The same for Gaussian mechanisms: the largest mu of mu-GDP that the guesses refute by the test of f-DP in one run
// (Mahloujifar, Melis & Chaudhuri 2024, arXiv 2410.22235, algorithm 3, two values a record), as the epsilon at `delta`.
// Tighter, but a bound only for what is Gaussian, as DP-SGD nearly is. Throws as above, and for delta 0, at which
// Gaussian mechanisms have no epsilon.
double gaussian_epsilon_in_one_run(const Guesses& guesses, std::int64_t canaries, double delta, double significance);

// The least epsilon at `delta` of a mechanism that is mu-GDP (Balle & Wang 2018, arXiv 1805.06530, theorem 8). mu >= 0.
double epsilon_of_gaussian(double mu, double delta);

// At which delta a bound is asked for, and with which confidence.
struct BoundRequest {
  double delta = 1e-5;
  bool by_coin = false;      // whether each record was trained on by a fair coin
  double confidence = 0.95;  // of each bound; where the largest of k is looked at, 1 - 0.05 / k holds for it
};

// What membership scores show. By coin, epsilon_in_one_run(): the records with the largest scores are guessed to be in
// and as many with the smallest out, for each of six shares of the records, at a sixth of the significance. Else
// epsilon_by_rates(): the threshold, and whether larger or smaller scores are taken for
// members, are chosen on halves of the members and of the others, drawn by `seed`, and the guesses are counted on the
// other halves. Null with fewer than 4
// of either. Throws std::invalid_argument on NaN, and as epsilon_by_rates().
std::optional<EpsilonLowerBound> epsilon_lower_bound(std::span<const double> members, std::span<const double> others,
                                                     const BoundRequest& request, std::uint64_t seed);

}  // namespace afterimage
