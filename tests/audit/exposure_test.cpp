#include "audit/exposure.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <stdexcept>

#include "models/mlp.h"

namespace afterimage {
namespace {

using Values = std::vector<double>;

// Inputs are (pixels - 0.25) / 0.5, and the first layer undoes that: the outputs are `weights` [C, d] times the pixels,
// plus `bias`, to the bit.
AuditInput case_of(const Tensor& pixels, const Tensor& weights, double bias, const Tensor& targets) {
  const std::int64_t size = pixels.size(1), outputs = weights.size(0);
  const Tensor mean = at::full({size}, 0.25, at::kFloat), scale = at::full({size}, 0.5, at::kFloat);
  const Parameters weights_and_biases(std::vector<Parameters::Entry>{{"fc1.weight", 0.5 * at::eye(size, at::kFloat)},
                                                                     {"fc1.bias", mean},
                                                                     {"fc2.weight", weights},
                                                                     {"fc2.bias", at::full({outputs}, bias)}});
  AuditInput input;
  input.subject.released =
      TrainedNetwork{std::make_shared<Mlp>(size, std::vector<std::int64_t>{size}, outputs, Parameterization::standard),
                     weights_and_biases.clone(), weights_and_biases};
  input.subject.space = input.truth.space = {{size}, mean, 0, 1, scale};
  input.truth.training = (pixels - mean) / scale;
  input.targets = targets;
  return input;
}

// Without the mean or the scale 0.125 would count as black, and without the scale 0.875 as white.
Tensor five_pictures() {
  return at::tensor({0.0F, 1.0F, 0.5F,   0.125F,  //
                     0.5F, 0.5F, 0.875F, 0.125F,  //
                     1.0F, 0.0F, 0.0F,   1.0F,    //
                     0.5F, 0.5F, 0.875F, 0.0F,    //
                     1.0F, 0.0F, 1.0F,   0.5F})
      .view({5, 4});
}

// Outputs -0.125, 1.75, 5, 1.375 and 4.5.
AuditInput with_one_output() {
  return case_of(five_pictures(), at::tensor({2.0F, -1.0F, 1.0F, 3.0F}).view({1, 4}), 0,
                 at::tensor({-1.0F, 1.0F, 1.0F, -1.0F, -1.0F}).view({5, 1}));
}
const Values margins_of_one = {0.125, 1.75, 5, -1.375, -4.5};

Tensor five_coefficients() {
  return at::tensor({3.0, -4.0, 0.0, 1.0, -6.0, 8.0, -2.0, 0.0, 5.0, 12.0}, at::kDouble).view({5, 2});
}

// Computed by hand for the case with one output.
const std::vector<std::pair<std::string, Values>> expected = {
    {"dual_coefficient", {5, 1, 10, 2, 13}},
    {"margin", margins_of_one},
    {"active_bounds", {2, 0, 4, 1, 3}},
    // Squared distances of pixels to the nearest, over the squared norm of pixels less 0.25: the scale cancels.
    {"nearest_neighbour",
     {std::sqrt(0.640625 / 0.703125), std::sqrt(0.015625 / 0.53125), 1, std::sqrt(0.015625 / 0.578125),
      std::sqrt(0.65625 / 1.25)}},
    {"loss", {0.3828125, 0.28125, 8, 2.8203125, 15.125}}};

// Samples with these distances by image, the most exposed first, as scoring returns them.
Finding found_at(const std::string& attack, const std::vector<Number>& distances, std::int64_t reconstructed = 3) {
  Finding finding;
  finding.attack = attack;
  finding.reconstructed = rate_of(reconstructed, static_cast<std::int64_t>(distances.size()));
  for (std::size_t i = 0; i < distances.size(); ++i) {
    Sample sample;
    sample.index = static_cast<std::int64_t>(i);
    sample.relative_distance = distances[i];
    finding.samples.push_back(sample);
  }
  std::stable_sort(finding.samples.begin(), finding.samples.end(), [](const Sample& a, const Sample& b) {
    return a.relative_distance.value_or(1e300) < b.relative_distance.value_or(1e300);
  });
  return finding;
}

// The larger a value, the nearer (or with `sign` -1 the farther) its image's reconstruction.
std::vector<Number> distances_by(const Values& values, double sign = 1) {
  std::vector<Number> distances;
  for (const double value : values) distances.emplace_back(20 - sign * value);
  return distances;
}

const Predictor& named(const Exposure& exposure, const std::string& name) {
  const auto own = std::find_if(exposure.predictors.begin(), exposure.predictors.end(),
                                [&](const Predictor& predictor) { return predictor.name == name; });
  if (own == exposure.predictors.end()) throw std::out_of_range(name);
  return *own;
}

void check_values(const Exposure& exposure, const std::string& name, const Values& values) {
  CAPTURE(name);
  const Values& found = named(exposure, name).values;
  REQUIRE(found.size() == values.size());
  for (std::size_t i = 0; i < values.size(); ++i) CHECK(found[i] == Approx(values[i]).epsilon(1e-5));
}

}  // namespace

TEST_CASE("each predictor has the values that were computed by hand") {
  const auto finding = found_at("span", distances_by(margins_of_one));
  AuditInput input = with_one_output();
  const auto exposure = exposure_of(input, five_coefficients(), {finding});
  REQUIRE(exposure);
  CHECK(exposure->predictors.size() == expected.size());
  for (const auto& [name, values] : expected) check_values(*exposure, name, values);
  CHECK(named(*exposure, "active_bounds").values == Values{2, 0, 4, 1, 3});
  CHECK(exposure->reason.empty());

  input.subject.loss = LossKind::logistic;
  Values logistic;
  for (const double margin : margins_of_one) logistic.push_back(std::log1p(std::exp(-margin)));
  check_values(exposure_of(input, {}, {finding}).value(), "loss", logistic);
}

TEST_CASE("with several outputs the margin is the lead of the right one over the largest other, even below zero") {
  const Tensor weights = at::tensor({2.0F, -1.0F, 1.0F, 3.0F, 1.0F, 1.0F, 1.0F, 1.0F, 0.0F, 2.0F, 0.0F, -1.0F});
  const std::vector<std::int64_t> right = {2, 0, 0, 2, 1};
  AuditInput input =
      case_of(five_pictures(), weights.view({3, 4}), -4, at::one_hot(at::tensor(right), 3).to(at::kFloat));
  input.subject.loss = LossKind::cross_entropy;
  const std::vector<Values> outputs = {
      {-4.125, -2.375, -2.125}, {-2.25, -2, -3.125}, {1, -2, -5}, {-2.625, -2.125, -3}, {0.5, -1.5, -4.5}};
  Values losses;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    double sum = 0;
    for (const double output : outputs[i]) sum += std::exp(output);
    losses.push_back(std::log(sum) - outputs[i][static_cast<std::size_t>(right[i])]);
  }
  const auto exposure = exposure_of(input, {}, {found_at("span", distances_by({1, 2, 3, 4, 5}))});
  REQUIRE(exposure);
  check_values(*exposure, "margin", {0.25, -0.25, 3, -0.875, -2});
  check_values(*exposure, "loss", losses);
}

TEST_CASE("a predictor that rises with exposure correlates by plus one, one that falls with it by minus one") {
  const AuditInput input = with_one_output();
  for (const auto& [name, values] : expected) {
    for (const double sign : {1.0, -1.0}) {
      CAPTURE(name, sign);
      const auto exposure =
          exposure_of(input, five_coefficients(), {found_at("span", distances_by(values, sign))}).value();
      CHECK(named(exposure, name).spearman.value() == sign);
      CHECK(named(exposure, name).p_value.value() == 0);
    }
  }
}

TEST_CASE("images without a reconstruction share the least exposure, whether or not they are listed") {
  const AuditInput input = with_one_output();
  const auto rho = [&](const Finding& finding) {
    return named(exposure_of(input, {}, {finding}).value(), "active_bounds").spearman.value();
  };
  CHECK(rho(found_at("span", {0.3, {}, 0.1, 0.4, 0.2})) == 1);
  CHECK(rho(found_at("span", {0.3, 0.1, {}, 0.2, 0.4})) == -1);
  // Ranks 1 to 5 against 1.5, 1.5, 3, 4 and 5.
  Finding two_missing = found_at("span", {0.3, {}, 0.1, {}, 0.2});
  CHECK(rho(two_missing) == Approx(9.5 / std::sqrt(10 * 9.5)).epsilon(1e-12));
  two_missing.samples.resize(3);
  CHECK(rho(two_missing) == Approx(9.5 / std::sqrt(10 * 9.5)).epsilon(1e-12));
}

TEST_CASE("predictors are correlated with the finding that reconstructed most") {
  const AuditInput input = with_one_output();
  Finding of_membership;
  of_membership.membership = Membership{};
  const auto with = distances_by(margins_of_one, 1), against = distances_by(margins_of_one, -1);
  const auto exposure = exposure_of(
      input, {}, {of_membership, found_at("weak", against, 1), found_at("strong", with), found_at("equal", against)});
  REQUIRE(exposure);
  CHECK(exposure->attack == "strong");
  CHECK(named(*exposure, "margin").spearman == 1.0);

  CHECK_FALSE(exposure_of(input, {}, {}));
  CHECK_FALSE(exposure_of(input, {}, {of_membership}));
  Finding without_samples = found_at("span", with);
  without_samples.samples.clear();
  CHECK_FALSE(exposure_of(input, {}, {without_samples}));
}

TEST_CASE("missing coefficients, and correlations of few images or equal values, have a reason") {
  AuditInput input = with_one_output();
  const Finding finding = found_at("span", distances_by(margins_of_one));
  const auto known = exposure_of(input, {}, {finding}).value();
  CHECK(known.predictors.front().name == "margin");
  CHECK(known.reason.find("too many") != std::string::npos);
  std::get<TrainedNetwork>(input.subject.released).initial = {};
  CHECK(exposure_of(input, {}, {finding})->reason.find("not known") != std::string::npos);

  const auto untouched = exposure_of(input, five_coefficients(), {found_at("span", {{}, {}, {}, {}, {}}, 0)}).value();
  CHECK_FALSE(named(untouched, "margin").spearman);
  CHECK_FALSE(named(untouched, "margin").p_value);
  CHECK(untouched.reason.find("no rank correlation") == 0);

  const auto first = [&](std::int64_t count) {
    AuditInput few = with_one_output();
    few.truth.training = few.truth.training.narrow(0, 0, count);
    few.targets = few.targets.narrow(0, 0, count);
    const std::vector<Number> distances(static_cast<std::size_t>(count), 0.5);
    return exposure_of(few, five_coefficients().narrow(0, 0, count), {found_at("span", distances, 0)}).value();
  };
  CHECK(first(3).predictors.size() == 5);
  CHECK_FALSE(named(first(3), "loss").spearman);
  check_values(first(3), "loss", {0.3828125, 0.28125, 8});
  CHECK(first(3).reason.find("no rank correlation") == 0);
  CHECK(first(1).predictors.size() == 4);
  CHECK_THROWS_AS(named(first(1), "nearest_neighbour"), std::out_of_range);  // there is no other image
}

TEST_CASE("pixels count as black or white within a millionth of the range of the bounds") {
  AuditInput input = case_of(at::zeros({2, 8}), at::zeros({1, 8}), 0, at::ones({2, 1}));
  input.subject.space = {{8}, at::zeros({8}), -1, 3};
  input.truth.training = at::zeros({2, 8});
  input.truth.training[0].copy_(at::tensor({-1.0, 3.0, -1 + 2e-6, 3 - 2e-6, -1 + 2e-5, 3 - 2e-5, 0.0, 1.0}));
  const auto exposure = exposure_of(input, {}, {found_at("span", {0.1, 0.2}, 1)});
  REQUIRE(exposure);
  CHECK(named(*exposure, "active_bounds").values == Values{4, 0});
}

TEST_CASE("samples outside the training set are an error and not an access beyond its end") {
  const AuditInput input = with_one_output();
  for (const std::int64_t index : {std::int64_t{-1}, std::int64_t{5}, std::int64_t{1'000'000'000'000}}) {
    CAPTURE(index);
    Finding finding = found_at("span", distances_by(margins_of_one));
    finding.samples.front().index = index;
    CHECK_THROWS_AS(exposure_of(input, {}, {finding}), std::out_of_range);
  }
}

TEST_CASE("among many images a copy is nearest, at distance zero, however rows are grouped") {
  constexpr std::int64_t count = 300, original = 3, copy = 280, size = 8;
  Generator random = seeded(4);
  const Tensor images = at::rand({count, size}, random, at::kFloat);
  images[copy].copy_(images[original]);
  AuditInput input = case_of(images, at::ones({1, size}), 0, at::ones({count, 1}));
  input.truth.training = images;
  const auto exposure =
      exposure_of(input, {}, {found_at("span", std::vector<Number>(static_cast<std::size_t>(count), 0.5))}).value();
  const Values& nearest = named(exposure, "nearest_neighbour").values;
  REQUIRE(nearest.size() == static_cast<std::size_t>(count));
  CHECK(nearest[original] == 0);
  CHECK(nearest[copy] == 0);
  CHECK(std::count(nearest.begin(), nearest.end(), 0) == 2);
  const Tensor apart = (images - images[299]).norm(2, 1).slice(0, 0, 299);
  CHECK(nearest[299] == Approx((apart.min() / images[299].norm()).item<double>()));
}

}  // namespace afterimage
