#include "attacks/scoring/score.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "attacks/scoring/similarity.h"

namespace afterimage {
namespace {

constexpr std::int64_t side = 12, pixels = side * side;

// Images of noise: any two are far apart (relative L2 near 1.4), so no match is by chance.
Truth noise_truth(std::int64_t training, std::int64_t control, std::uint64_t seed) {
  Generator random = seeded(seed);
  const Tensor mean = 0.3 + 0.4 * at::rand({pixels}, random, at::kFloat);
  return {at::rand({training, pixels}, random, at::kFloat) - mean,
          at::rand({control, pixels}, random, at::kFloat) - mean,
          {{side, side}, mean}};
}

Score score_of(const Claim& claim, const Truth& truth, std::uint64_t seed = 1) {
  Generator random = seeded(seed);
  return score(claim, truth, random);
}

Score score_of(const Tensor& images, const Truth& truth, std::uint64_t seed = 1) {
  return score_of(Claim{images, {}, {}}, truth, seed);
}

// `share` of each image's norm, in a random direction.
Tensor with_noise(const Tensor& images, double share, std::uint64_t seed) {
  Generator random = seeded(seed);
  const Tensor noise = at::randn(images.sizes(), random, at::kFloat);
  return images + share * noise * images.norm(2, {1}, true) / noise.norm(2, {1}, true);
}

bool same(const Score& a, const Score& b) {
  if (a.matches.size() != b.matches.size() || a.threshold != b.threshold || a.p_value != b.p_value) return false;
  for (std::size_t k = 0; k < a.matches.size(); ++k)
    if (a.matches[k].reconstructed != b.matches[k].reconstructed || a.matches[k].distance != b.matches[k].distance)
      return false;
  return a.control->count == b.control->count && a.member_distances == b.member_distances &&
         a.control_distances == b.control_distances;
}

}  // namespace

TEST_CASE("a claim of the training images has all of them reconstructed exactly, and no control image") {
  const Truth truth = noise_truth(20, 200, 1);
  const Score result = score_of(truth.training, truth);
  CHECK(result.candidates == 20);
  CHECK(result.reconstructed->count == 20);
  CHECK(result.reconstructed->of == 20);
  CHECK(result.reconstructed->ci95_low == Approx(0.83157).epsilon(1e-4));
  CHECK(result.control->count == 0);
  CHECK(result.control->of == 100);
  CHECK(result.p_value.value() == Approx(fisher_p_value(rate_of(20, 20), rate_of(0, 100))));
  CHECK(result.p_value.value() < 1e-15);
  CHECK(result.threshold == recognisable);
  CHECK(result.mean_relative_distance == 0.0);
  CHECK(result.mean_ssim == 1.0);
  CHECK(result.membership->auc == 1);
  CHECK(result.member_distances == std::vector<double>(20, 0.0));
  CHECK(result.control_distances.size() == 100);
  CHECK_FALSE(result.confirmed);
  REQUIRE(result.matches.size() == 20);
  for (std::size_t k = 0; k < 20; ++k) {
    CHECK(result.matches[k].candidate == static_cast<std::int64_t>(k));
    CHECK(result.matches[k].reconstructed);
  }
}

TEST_CASE("a match has the distance of its candidate") {
  const Truth truth = noise_truth(6, 50, 2);
  const Tensor claimed = with_noise(truth.training, 0.2, 3).flip(0);
  const Score result = score_of(claimed, truth);
  const Tensor apart = distances(truth.training, result.clipped);
  for (std::int64_t k = 0; k < 6; ++k) {
    const Match& match = result.matches[static_cast<std::size_t>(k)];
    CHECK(match.candidate == 5 - k);
    const Tensor image = truth.training[k], candidate = result.clipped[5 - k];
    CHECK(match.distance.value() == apart[k][5 - k].item<double>());
    CHECK(match.relative_distance.value() == Approx(*match.distance / image.norm().item<double>()).epsilon(1e-6));
    CHECK(match.nearest_relative_distance == match.relative_distance);
    const auto picture = [&](const Tensor& row) { return (row + truth.space.mean).view({1, side, side}); };
    CHECK(match.ssim.value() == Approx(ssim(picture(image), picture(candidate)).item<double>()).epsilon(1e-12));
    CHECK(match.reconstructed);
  }
}

TEST_CASE("scores are of pixels, whatever the scale of preprocessing") {
  const Truth truth = noise_truth(6, 50, 2);
  Generator random = seeded(4);
  const Tensor claimed = with_noise(truth.training, 0.2, 3), scale = 0.1 + at::rand({pixels}, random, at::kFloat);
  const Truth divided = {
      truth.training / scale, truth.control / scale, {truth.space.shape, truth.space.mean, 0, 1, scale}};
  const Score wanted = score_of(claimed, truth), got = score_of(claimed / scale, divided);
  CHECK(got.threshold.value() == Approx(*wanted.threshold).epsilon(1e-6));
  CHECK(got.mean_relative_distance.value() == Approx(*wanted.mean_relative_distance).epsilon(1e-5));
  CHECK(got.mean_ssim.value() == Approx(*wanted.mean_ssim).epsilon(1e-5));
  CHECK(got.matches[3].distance.value() == Approx(*wanted.matches[3].distance).epsilon(1e-5));
  CHECK(got.reconstructed->count == wanted.reconstructed->count);
  CHECK(at::allclose(got.clipped * scale, wanted.clipped, 1e-5, 1e-6));
  Truth wrong = divided;
  wrong.space.scale = at::zeros({pixels});
  CHECK_THROWS_AS(score_of(claimed, wrong), std::invalid_argument);
}

TEST_CASE("a candidate that is too far from any image counts as none") {
  const Truth truth = noise_truth(10, 100, 4);
  CHECK(score_of(with_noise(truth.training, 0.3, 5), truth).reconstructed->count == 10);
  // Clipping takes some of the noise away, but not three quarters of it.
  const Score far = score_of(with_noise(truth.training, 2, 5), truth);
  CHECK(far.reconstructed->count == 0);
  CHECK(far.p_value == 1.0);
}

TEST_CASE("one candidate between two images counts for at most one") {
  Truth truth = noise_truth(2, 100, 6);
  truth.training[1].copy_(with_noise(truth.training, 0.4, 7)[0]);
  const Tensor between = truth.training.mean(0, true);
  const Score one = score_of(between, truth);
  CHECK(one.matches[0].nearest_relative_distance.value() < 0.25);
  CHECK(one.matches[1].nearest_relative_distance.value() < 0.25);
  CHECK(one.reconstructed->count == 1);
  CHECK((one.matches[0].candidate == -1) != (one.matches[1].candidate == -1));
}

TEST_CASE("copies of one training image all count with the one reconstruction of them") {
  Truth truth = noise_truth(20, 200, 1);
  truth.training = at::cat({truth.training.narrow(0, 0, 10), truth.training.narrow(0, 0, 10)}).contiguous();
  const Score all = score_of(truth.training.narrow(0, 0, 10), truth);
  CHECK(all.reconstructed->count == 20);
  const Score some = score_of(truth.training.narrow(0, 0, 3), truth);
  CHECK(some.reconstructed->count == 6);
  CHECK(some.matches[12].candidate == some.matches[2].candidate);
}

TEST_CASE("copies that differ by rounding, or by half a grey level, count as copies") {
  for (const double by : {1e-7, 0.002}) {
    Truth truth = noise_truth(4, 200, 1);
    Generator random = seeded(2);
    const Tensor copies = truth.training[0] + by * (at::rand({6, pixels}, random, at::kFloat) - 0.5);
    truth.training = at::cat({truth.training, copies});
    const Score result = score_of(truth.training.slice(0, 0, 1), truth);
    CHECK(result.reconstructed->count == 7);
    CHECK(result.p_value.value() == Approx(fisher_p_value(rate_of(1, 4), rate_of(0, 100))));
  }
}

TEST_CASE(
    "where control images are claimed too, training images count by equality if they are far more often claimed") {
  Truth truth = noise_truth(30, 200, 1);
  const Tensor some_control = truth.control.slice(0, 0, 12);
  const Score all = score_of(at::cat({truth.training, some_control}), truth);
  CHECK(all.threshold == exact_distance);
  CHECK(all.reconstructed->count == 30);
  CHECK(all.control->count <= 12);
  CHECK(all.p_value.value() < 1e-15);
  // As often as control images: nothing.
  const Score few = score_of(at::cat({truth.training.slice(0, 0, 2), some_control}), truth);
  CHECK(few.reconstructed->count == 0);
  CHECK(few.threshold.value() < exact_distance);
}

TEST_CASE("copies of one training image are one trial: interval and p-value are those of different images") {
  Truth truth = noise_truth(4, 200, 1);
  const Score once = score_of(truth.training.narrow(0, 0, 2), truth);
  truth.training = truth.training.repeat({5, 1});
  const Score copied = score_of(truth.training.narrow(0, 0, 2), truth);
  CHECK(copied.reconstructed->count == 10);
  CHECK(copied.reconstructed->of == 20);
  CHECK(copied.p_value == once.p_value);
  CHECK(copied.reconstructed->ci95_low == once.reconstructed->ci95_low);
  CHECK(copied.reconstructed->ci95_high == once.reconstructed->ci95_high);
}

TEST_CASE("an exact copy is matched with its image even where another image would gain from it") {
  // By relative distances the cheapest matching would give the copy of the bright image to another.
  Truth truth = noise_truth(2, 100, 8);
  truth.space.mean.zero_();
  truth.control = at::rand({100, pixels}) * 0.01;
  truth.training.zero_();
  truth.training[0].fill_(1);
  truth.training[1].fill_(0.1);
  Tensor claimed = truth.training.clone();
  claimed[1].fill_(0.95);
  const Score result = score_of(claimed, truth);
  CHECK(result.matches[0].candidate == 0);
  CHECK(result.matches[0].reconstructed);
  CHECK(result.matches[1].candidate == 1);
  CHECK_FALSE(result.matches[1].reconstructed);
}

TEST_CASE("a candidate that is nearer to a calibration image counts for no training image") {
  Truth truth = noise_truth(1, 400, 9);
  const Tensor candidate = with_noise(truth.training, 0.3, 10);
  truth.control[0].copy_(with_noise(candidate, 0.1, 11)[0]);
  std::int64_t credited = 0;
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    const Score result = score_of(candidate, truth, seed);
    CHECK(result.threshold == recognisable);  // one similar image of two hundred does not change the 1 % quantile
    // The similar image is either in the calibration half, and nothing is found, or in the other, and both are counted.
    CHECK(result.reconstructed->count == result.control->count);
    credited += result.reconstructed->count;
  }
  CHECK(credited > 0);
  CHECK(credited < 12);
}

TEST_CASE("claims are clipped to the pixel range before anything is measured") {
  const Truth truth = noise_truth(5, 50, 12);
  Truth binary = truth;
  binary.training = (truth.training + truth.space.mean > 0.5).to(at::kFloat) - truth.space.mean;
  const Tensor overshooting = binary.training + 3 * (2 * (binary.training + binary.space.mean) - 1);
  const Score result = score_of(overshooting, binary);
  CHECK(result.mean_relative_distance.value() < 1e-6);
  CHECK(result.reconstructed->count == 5);
  const Tensor seen = result.clipped + binary.space.mean;
  CHECK(seen.min().item<double>() >= -1e-6);
  CHECK(seen.max().item<double>() <= 1 + 1e-6);
  CHECK(at::equal(score_of(truth.training, truth).clipped, truth.training));
}

TEST_CASE("the same seed gives the same score and another seed another split") {
  const Truth truth = noise_truth(10, 100, 13);
  const Tensor claimed = with_noise(truth.training, 0.45, 14);
  CHECK(same(score_of(claimed, truth, 5), score_of(claimed, truth, 5)));
  CHECK(score_of(claimed, truth, 5).control_distances != score_of(claimed, truth, 6).control_distances);
}

TEST_CASE("the order of the candidates changes only their indices") {
  const Truth truth = noise_truth(10, 100, 15);
  Generator random = seeded(GENERATE(range(0u, 6u)));
  const Tensor claimed =
      at::cat({with_noise(truth.training, 0.4, 16), with_noise(truth.control.slice(0, 0, 20), 0.3, 17)});
  const Tensor order = at::randperm(30, random, at::kLong);
  const Score before = score_of(claimed, truth), after = score_of(claimed.index_select(0, order), truth);
  CHECK(same(before, after));
  for (std::size_t k = 0; k < 10; ++k)
    CHECK(order[after.matches[k].candidate].item<std::int64_t>() == before.matches[k].candidate);
}

TEST_CASE("with fewer candidates than images the rest have no match and are not reconstructed") {
  const Truth truth = noise_truth(10, 100, 18);
  const Score result = score_of(truth.training.slice(0, 3, 7), truth);
  CHECK(result.reconstructed->count == 4);
  CHECK(result.reconstructed->of == 10);
  for (std::size_t k = 0; k < 10; ++k) {
    const Match& match = result.matches[k];
    CHECK(match.reconstructed == (k >= 3 && k < 7));
    CHECK((match.candidate >= 0) == match.reconstructed);
    CHECK(match.distance.has_value() == match.reconstructed);
    CHECK(match.ssim.has_value() == match.reconstructed);
    CHECK(match.nearest_relative_distance.has_value());
  }
  CHECK(result.mean_relative_distance == 0.0);
}

TEST_CASE("a claim of membership only is scored for membership only, on the whole control set") {
  const Truth truth = noise_truth(10, 1000, 19);
  const Tensor first = truth.training[0];
  Claim claim;
  claim.membership = [&](const Candidates& pool) { return -(pool.images - first).norm(2, {1}); };
  const Score result = score_of(claim, truth);
  CHECK_FALSE(result.threshold);
  CHECK_FALSE(result.reconstructed);
  CHECK_FALSE(result.control);
  CHECK_FALSE(result.p_value);
  CHECK_FALSE(result.mean_ssim);
  CHECK(result.matches.empty());
  CHECK(result.member_distances.empty());
  CHECK_FALSE(result.clipped.defined());
  REQUIRE(result.membership);
  CHECK(result.membership->tpr_at_fpr_0_001.value() >= 0.1);
}

TEST_CASE("a small control set has no true positive rate at small false positive rates") {
  const Truth truth = noise_truth(10, 99, 20);
  const Score result = score_of(truth.training, truth);
  CHECK(result.control->of == 50);
  CHECK(result.reconstructed->count == 10);
  CHECK_FALSE(result.membership->tpr_at_fpr_0_01);
  CHECK_FALSE(result.membership->tpr_at_fpr_0_001);
  CHECK(score_of(truth.training, noise_truth(10, 2, 20)).control->of == 1);
}

TEST_CASE("an attack's own membership score is used in place of distances") {
  const Truth truth = noise_truth(10, 100, 21);
  Claim claim{truth.training, {}, [](const Candidates& pool) { return at::zeros({pool.images.size(0)}); }};
  CHECK(score_of(claim, truth).membership->auc == 0.5);
  claim.membership = nullptr;
  CHECK(score_of(claim, truth).membership->auc == 1);
}

TEST_CASE("confirmed images are checked against the training images") {
  const Truth truth = noise_truth(10, 100, 22);
  Generator random = seeded(23);
  Claim claim{at::cat({with_noise(truth.training, 0.1, 24), at::rand({5, pixels}, random) - truth.space.mean}), {}, {}};
  claim.confirmed = at::zeros({15}, at::kBool);
  CHECK(score_of(claim, truth).confirmed == 0);
  claim.confirmed.slice(0, 4, 12).fill_(true);
  const Score result = score_of(claim, truth);
  CHECK(result.confirmed == 8);
  CHECK(result.confirmed_right == 6);
}

TEST_CASE("images that are not finite are no candidates") {
  const Truth truth = noise_truth(4, 100, 25);
  Tensor claimed = at::cat({at::zeros({2, pixels}), truth.training});
  claimed[0][7] = std::numeric_limits<float>::quiet_NaN();
  claimed[1][0] = std::numeric_limits<float>::infinity();
  const Score result = score_of(Claim{claimed, at::ones({6}, at::kBool), {}}, truth);
  CHECK(result.candidates == 4);
  CHECK(result.reconstructed->count == 4);
  for (std::size_t k = 0; k < 4; ++k) CHECK(result.matches[k].candidate == static_cast<std::int64_t>(k) + 2);
  CHECK(at::equal(result.clipped.slice(0, 0, 2), at::zeros({2, pixels})));
  CHECK(result.confirmed == 6);
  CHECK(result.confirmed_right == 4);
}

TEST_CASE("a claim without finite images has no rate") {
  const Truth truth = noise_truth(4, 100, 26);
  const Score result = score_of(at::full({3, pixels}, std::numeric_limits<float>::quiet_NaN()), truth);
  CHECK(result.candidates == 0);
  CHECK_FALSE(result.reconstructed);
  CHECK_FALSE(result.threshold);
  CHECK_FALSE(result.membership);
  CHECK(result.matches.size() == 4);
}

TEST_CASE("a claim of no images is a rate of zero") {
  const Truth truth = noise_truth(4, 100, 27);
  const Score result = score_of(at::empty({0, pixels}), truth);
  CHECK(result.reconstructed->count == 0);
  CHECK(result.reconstructed->of == 4);
  CHECK(result.control->of == 50);
  CHECK(result.p_value == 1.0);
  CHECK_FALSE(result.threshold);
  CHECK(result.matches.size() == 4);
  CHECK(result.matches[0].candidate == -1);
}

TEST_CASE("colour images have a structural similarity and plain vectors have none") {
  Truth truth = noise_truth(3, 20, 28);
  truth.space.shape = {4, 12, 3};
  CHECK(score_of(truth.training, truth).mean_ssim == 1.0);
  truth.space.shape = {pixels};
  const Score result = score_of(truth.training, truth);
  CHECK_FALSE(result.mean_ssim);
  CHECK_FALSE(result.matches[0].ssim);
  CHECK(result.reconstructed->count == 3);
}

TEST_CASE("an image that equals the mean is found by what is near in pixels, and its distances are of pixels") {
  Truth truth = noise_truth(2, 20, 29);
  truth.training[0].zero_();
  CHECK(score_of(truth.training, truth).reconstructed->count == 2);
  const Score near = score_of(truth.training + 1e-3, truth);
  CHECK(near.reconstructed->count == 2);
  const double pixels_norm = truth.space.mean.norm().item<double>();
  CHECK(near.member_distances[0] == Approx(1e-3 * std::sqrt(static_cast<double>(pixels)) / pixels_norm).epsilon(0.01));
  CHECK(score_of(truth.training + 0.5, truth).member_distances[0] < 10);
}

TEST_CASE("claims and truths of different shapes are refused") {
  const Truth good = noise_truth(4, 20, 30);
  const auto refused = [](const Claim& claim, const Truth& truth) {
    CHECK_THROWS_AS(score_of(claim, truth), std::invalid_argument);
  };
  refused({at::zeros({3, pixels + 1}), {}, {}}, good);
  refused({at::zeros({pixels}), {}, {}}, good);
  refused({good.training, at::zeros({3}, at::kBool), {}}, good);
  refused({good.training, at::zeros({4}), {}}, good);
  refused({{}, at::zeros({4}, at::kBool), {}}, good);
  refused({{}, {}, [](const Candidates&) { return at::zeros({1}); }}, good);
  refused({{}, {}, [](const Candidates& pool) { return at::full({pool.images.size(0)}, std::nan("")); }}, good);
  const auto refused_truth = [&](auto change) {
    Truth truth = good;
    change(truth);
    refused({good.training, {}, {}}, truth);
  };
  refused_truth([](Truth& truth) { truth.control = truth.control.slice(0, 0, 1); });
  refused_truth([](Truth& truth) { truth.control = truth.control.slice(1, 1); });
  refused_truth([](Truth& truth) { truth.training = truth.training.slice(0, 0, 0); });
  refused_truth([](Truth& truth) { truth.training = truth.training * std::nan(""); });
  refused_truth([](Truth& truth) { truth.space.mean = truth.space.mean.slice(0, 1); });
  refused_truth([](Truth& truth) { truth.space.shape = {side, side, 3}; });
}

}  // namespace afterimage
