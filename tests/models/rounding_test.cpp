#include "models/rounding.h"

#include <catch2/catch.hpp>

namespace afterimage {

TEST_CASE("how weights are stored shows in their values, and the noise is that of rounding them") {
  Generator random = seeded(1);
  const Tensor fine = at::randn({60, 50}, random, at::kDouble) * 0.1;
  const auto stored = [&](const Tensor& values, const char* name) {
    CAPTURE(name);
    const Storage storage = storage_of(values);
    CHECK(storage.name == name);
    const double noise = (values - fine).square().mean().item<double>();
    CHECK(storage.mean_square == Approx(noise).epsilon(0.1));
  };
  for (const auto dtype : {at::kHalf, at::kBFloat16}) {
    stored(fine.to(dtype).to(at::kDouble), dtype == at::kHalf ? "float16" : "bfloat16");
  }
  const Tensor one = fine.abs().max() / 127, each = fine.abs().amax(1, /*keepdim=*/true) / 127;
  stored((fine / one).round() * one, "8 bits with one scale");
  stored((fine / each).round() * each, "8 bits with a scale for each row");
  CHECK(storage_of(fine).name.empty());
  CHECK(storage_of(fine.to(at::kFloat)).name.empty());
  CHECK(storage_of(at::zeros({3, 4})).name.empty());
}

TEST_CASE("a network is stored as all of its weights are") {
  Generator random = seeded(2);
  const auto rounded = [&](at::IntArrayRef shape) {
    const Tensor fine = at::randn(shape, random, at::kFloat);
    return (fine / (fine.abs().max() / 127)).round() * (fine.abs().max() / 127);
  };
  const Tensor bias = at::randn({8}, random, at::kFloat);
  const Parameters all({{"0.weight", rounded({8, 9})}, {"0.bias", bias}, {"2.weight", rounded({1, 8})}});
  CHECK(storage_of(all) == "8 bits with one scale");
  CHECK(rounding_note(all) == "weights are rounded: stored as 8 bits with one scale");
  const Parameters mixed({{"0.weight", rounded({8, 9})}, {"2.weight", at::randn({1, 8}, random, at::kFloat)}});
  CHECK(rounding_note(mixed).empty());
}

TEST_CASE("what differs by rounding to a 16-bit type alone is the same, and what moved further is not") {
  Generator random = seeded(3);
  const Tensor fine = at::randn({200}, random, at::kFloat), coarse = fine.to(at::kBFloat16).to(at::kFloat);
  CHECK(same_but_for_rounding(fine, coarse).all().item<bool>());
  // A base model in a 16-bit type that was tuned in float32 moved, however little.
  CHECK_FALSE(same_but_for_rounding(coarse, fine).all().item<bool>());
  Tensor moved = (fine + at::arange(200).remainder(2) * 0.1).to(at::kBFloat16).to(at::kFloat);
  CHECK(same_but_for_rounding(fine, moved).sum().item<std::int64_t>() == 100);
  CHECK(same_but_for_rounding(fine, fine + 1e-6).sum().item<std::int64_t>() < 100);
}

}  // namespace afterimage
