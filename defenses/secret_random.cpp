#include "defenses/secret_random.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <boost/random/bernoulli_distribution.hpp>
#include <boost/random/normal_distribution.hpp>
#include <stdexcept>
#include <vector>

namespace afterimage {

SecretRandom::~SecretRandom() { OPENSSL_cleanse(drawn_.data(), sizeof(drawn_)); }

void SecretRandom::refill() {
  if (RAND_priv_bytes(reinterpret_cast<unsigned char*>(drawn_.data()), static_cast<int>(sizeof(drawn_))) != 1) {
    throw std::runtime_error("random numbers: the operating system gives no entropy, without which noise is no secret");
  }
  next_ = 0;
}

void fill_normal(const Tensor& values, double deviation, SecretRandom& random) {
  boost::random::normal_distribution<double> normal(0, deviation);
  AT_DISPATCH_FLOATING_TYPES(values.scalar_type(), "fill_normal", [&] {
    auto* out = values.data_ptr<scalar_t>();
    for (std::int64_t i = 0; i < values.numel(); ++i) out[i] = static_cast<scalar_t>(normal(random));
  });
}

Tensor poisson_sample(std::int64_t images, double rate, SecretRandom& random) {
  boost::random::bernoulli_distribution<double> is_drawn(rate);
  std::vector<std::int64_t> drawn;
  for (std::int64_t image = 0; image < images; ++image) {
    if (is_drawn(random)) drawn.push_back(image);
  }
  return at::tensor(drawn, at::kLong);
}

}  // namespace afterimage
