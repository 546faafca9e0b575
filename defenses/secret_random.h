// Random numbers for a privacy guarantee: they cannot be drawn again from any seed, weights or files.
#pragma once

#include <array>
#include <cstdint>
#include <limits>

#include "models/tensor.h"

namespace afterimage {

// 64 random bits at a time from OpenSSL's generator (AES-256 in counter mode, seeded by the operating system). A
// std::uniform_random_bit_generator. It has no state that could be kept: an interrupted run continues with other
// numbers.
class SecretRandom {
 public:
  using result_type = std::uint64_t;
  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return std::numeric_limits<result_type>::max(); }

  SecretRandom() = default;
  ~SecretRandom();
  SecretRandom(const SecretRandom&) = delete;
  SecretRandom& operator=(const SecretRandom&) = delete;
  // Throws std::runtime_error where the operating system gives no entropy.
  result_type operator()() {
    if (next_ == drawn_.size()) refill();
    return drawn_[next_++];
  }

 private:
  void refill();

  std::array<result_type, 4096> drawn_{};
  std::size_t next_ = drawn_.size();
};

// Fills `values` (float32 or float64, contiguous) with N(0, deviation^2), each drawn in double precision.
void fill_normal(const Tensor& values, double deviation, SecretRandom& random);

// Which of so many images a step sees, [drawn] int64, ascending: each with probability `rate`, by itself.
Tensor poisson_sample(std::int64_t images, double rate, SecretRandom& random);

}  // namespace afterimage
