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

TEST_CASE("where columns are copies, full rank among the others is no count of images") {
  Generator random = seeded(7);
  const Tensor initial = at::randn({neurons, pixels}, random, at::kFloat).mul(0.05);
  // A full-rank change of 50 columns, as Adam's, and 150 columns that moved alike, as those of constant pixels do.
  const Tensor moved = at::randn({neurons, 50}, random, at::kFloat) * 0.01;
  const Tensor adam = at::cat({moved, moved.slice(1, 0, 1).expand({neurons, 150})}, 1);
  const SpanSearch none = find_row_span(initial, initial + adam);
  CHECK_FALSE(none.span);
  CHECK_THAT(none.evidence, Catch::Contains("different columns"));
  // Images of which half of the pixels are copies of others are counted, if there are fewer than different pixels.
  const Tensor half = at::rand({images, pixels / 2}, random, at::kFloat);
  const Tensor sums = at::mm(at::randn({neurons, images}, random, at::kFloat), at::cat({half, half}, 1)) * 1e-2;
  const SpanSearch found = find_row_span(initial, initial + sums);
  REQUIRE(found.span);
  CHECK(found.span->rank == images);
  // A single picture of two values, whose columns are all alike.
  const Tensor one = (at::rand({1, pixels}, random, at::kFloat) > 0.5).to(at::kFloat);
  const SpanSearch single =
      find_row_span(initial, initial + at::mm(at::randn({neurons, 1}, random, at::kFloat), one) * 1e-2);
  REQUIRE(single.span);
  CHECK(single.span->rank == 1);
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
