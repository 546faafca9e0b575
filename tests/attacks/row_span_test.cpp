// What is said of a change of weights whose spectrum does not fall.
#include "attacks/solver/row_span.h"

#include <catch2/catch.hpp>

namespace afterimage::test {
namespace {

constexpr std::int64_t neurons = 300, pixels = 200, images = 20;

Tensor quantized_rows(const Tensor& weights) {
  const Tensor step = weights.abs().amax(1, true) / 127;
  return (weights / step).round() * step;
}

}  // namespace

TEST_CASE("rounding of the stored weights is the reason only where it hides the spectrum's fall") {
  Generator random = seeded(5);
  const Tensor initial = at::randn({neurons, pixels}, random, at::kFloat).mul(0.05);
  const auto change = [&](double size) {
    return at::mm(at::randn({neurons, images}, random, at::kFloat), at::rand({images, pixels}, random, at::kFloat)) *
           size;
  };
  const Tensor small = initial + change(1e-6);
  const auto said = [&](const Tensor& trained) {
    const SpanSearch search = find_row_span(initial, trained);
    return search.span ? "rank " + std::to_string(search.span->rank) : search.evidence;
  };
  const auto contains = [](const std::string& words) { return Catch::Contains(words); };
  CHECK_THAT(said(small.to(at::kHalf).to(at::kFloat)), contains("stored as float16"));
  CHECK_THAT(said(small.to(at::kBFloat16).to(at::kFloat)), contains("stored as bfloat16"));
  CHECK_THAT(said(quantized_rows(small)), contains("stored as 8 bits with a scale for each row"));
  // A change that the rounding does not hide has its rank, rounded or not.
  CHECK(said(initial + change(1e-2)) == "rank 20");
  CHECK(said((initial + change(1e-2)).to(at::kHalf).to(at::kFloat)) == "rank 20");
  // As Adam's: of full rank, and far above what rounding to float16 leaves.
  const Tensor full = initial + at::randn({neurons, pixels}, random, at::kFloat) * 0.01;
  CHECK_THAT(said(full), contains("as under Adam"));
  CHECK_THAT(said(full.to(at::kHalf).to(at::kFloat)), contains("as under Adam"));
}

TEST_CASE("a change under weight normalisation is not taken for sums of images, and one under weight decay is") {
  Generator random = seeded(6);
  const Tensor initial = at::randn({neurons, pixels}, random, at::kFloat).mul(0.05);
  const Tensor sums =
      at::mm(at::randn({neurons, images}, random, at::kFloat), at::rand({images, pixels}, random, at::kFloat)) * 1e-2;
  const auto trained_by = [&](const Tensor& factors) { return initial * factors + sums; };
  for (const double spread : {1e-5, 1e-4, 1e-3}) {
    CAPTURE(spread);
    const Tensor factors = 1 + at::randn({neurons, 1}, random, at::kFloat) * spread;
    const SpanSearch search = find_row_span(initial, trained_by(factors));
    CHECK_FALSE(search.span);
    CHECK(search.directions.defined());
  }
  for (const double decay : {1.0, 0.999, 0.9}) {
    CAPTURE(decay);
    const SpanSearch search = find_row_span(initial, trained_by(at::full({1, 1}, decay)));
    REQUIRE(search.span);
    CHECK(search.span->rank == images);
    // Rounded weights have no such part.
    const SpanSearch rounded =
        find_row_span(initial, trained_by(at::full({1, 1}, decay)).to(at::kBFloat16).to(at::kFloat));
    if (!rounded.span) CHECK_THAT(rounded.evidence, !Catch::Contains("weight normalisation, so"));
  }
}

}  // namespace afterimage::test
