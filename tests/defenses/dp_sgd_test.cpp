#include "defenses/dp_sgd.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "defenses/privacy_accountant.h"
#include "defenses/secret_random.h"
#include "models/augmentation.h"
#include "models/foundations/error.h"
#include "models/mlp.h"
#include "models/scripted_network.h"
#include "tests/attacks/recorder.h"
#include "tests/models/targets.h"

namespace afterimage {
namespace {

const LossSetting every_setting[] = {{1, LossKind::squared, Parameterization::standard},
                                     {3, LossKind::squared, Parameterization::ntk},
                                     {1, LossKind::logistic, Parameterization::ntk},
                                     {4, LossKind::cross_entropy, Parameterization::standard}};

// A network with biases that are not zero, and images of very different norms.
struct Problem {
  explicit Problem(const LossSetting& setting, std::int64_t count = 9, at::ScalarType dtype = at::kDouble)
      : network(7, {32, 24}, setting.outputs, setting.parameterization), loss(setting.loss) {
    Generator random = seeded(4);
    parameters = network.draw_initial(random).value();
    for (const auto& [name, tensor] : parameters.entries()) {
      tensor.add_(at::randn(tensor.sizes(), random, tensor.options()), 0.1);
    }
    images = at::randn({count, 7}, random, at::kFloat).mul_(at::logspace(-1, 0.3, count).unsqueeze(1)).to(dtype);
    targets = targets_in_turn(setting.outputs, count).to(dtype);
    parameters = parameters.to(dtype);
  }
  Parameters clipped(const Tensor& rows, double clip, const std::vector<bool>& trained) const {
    const Tensor wanted = targets.index_select(0, rows);
    return network.clipped_pullback(
        parameters, images.index_select(0, rows),
        [&](const Tensor& outputs) { return cotangents(loss, outputs, wanted); }, clip, trained);
  }
  Parameters gradient_of(std::int64_t image) const {
    const Tensor wanted = targets.narrow(0, image, 1);
    return network.pullback(parameters, images.narrow(0, image, 1),
                            [&](const Tensor& outputs) { return cotangents(loss, outputs, wanted); });
  }
  std::vector<bool> all() const { return std::vector<bool>(parameters.size(), true); }

  Mlp network;
  LossKind loss;
  Parameters parameters;
  Tensor images, targets;
};

Parameters kept(const Parameters& gradient, const std::vector<bool>& trained) {
  std::vector<Parameters::Entry> entries = gradient.entries();
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (!trained[i]) entries[i].second = at::zeros_like(entries[i].second);
  }
  return Parameters(std::move(entries));
}

Undefended small(std::int64_t images = 20, std::int64_t width = 16) {
  Undefended undefended;
  undefended.network = std::make_shared<Mlp>(5, std::vector<std::int64_t>{width}, 1, Parameterization::standard);
  Generator random = seeded(6);
  undefended.initial = undefended.network->draw_initial(random).value();
  undefended.images = at::randn({images, 5}, random, at::kFloat);
  undefended.targets = targets_in_turn(1, images);
  undefended.space.shape = {5};
  undefended.recipe.learning_rate = 0.05;
  return undefended;
}

using Given = std::map<std::string, std::string>;

Release released(const Undefended& undefended, const Given& given, StateStore& store, std::uint64_t seed = 1) {
  Generator random = seeded(seed);
  Silent silent;
  Job job{random, silent, store};
  return dp_sgd_defense().configured(given).release(undefended, job);
}

Release released(const Undefended& undefended, const Given& given, std::uint64_t seed = 1) {
  NullStore no_store;
  return released(undefended, given, no_store, seed);
}

bool equal(const Parameters& a, const Parameters& b) { return a.minus(b).squared_norm() == 0; }

double deviation(const Tensor& draws) { return draws.to(at::kDouble).square().mean().sqrt().item<double>(); }

}  // namespace

TEST_CASE("the clipped sum is that of a loop over the images, for every loss, parameterization and frozen layer") {
  const LossSetting setting = GENERATE(from_range(std::begin(every_setting), std::end(every_setting)));
  const auto dtype = GENERATE(at::kFloat, at::kDouble);
  const Problem problem(setting, 9, dtype);
  const double tolerance = dtype == at::kDouble ? 1e-12 : 1e-5;
  std::vector<bool> upper = problem.all(), weights = problem.all();
  upper[0] = upper[1] = false;
  for (std::size_t i = 1; i < weights.size(); i += 2) weights[i] = false;
  for (const auto& trained : {problem.all(), upper, weights}) {
    std::vector<double> norms;
    for (std::int64_t j = 0; j < 9; ++j) {
      norms.push_back(std::sqrt(kept(problem.gradient_of(j), trained).squared_norm()));
    }
    std::vector<double> sorted = norms;
    std::sort(sorted.begin(), sorted.end());
    REQUIRE(sorted.front() > 0);
    REQUIRE(sorted[3] < sorted[4]);
    for (const double clip : {0.5 * sorted.front(), (sorted[3] + sorted[4]) / 2, 2 * sorted.back()}) {
      Parameters sum = problem.gradient_of(0).times(0);
      for (std::int64_t j = 0; j < 9; ++j) {
        sum = sum.plus(kept(problem.gradient_of(j), trained), std::min(1.0, clip / norms[j]));
      }
      const Parameters found = problem.clipped(at::arange(9), clip, trained);
      CHECK(found.minus(sum).squared_norm() < tolerance * tolerance * sum.squared_norm());
    }
  }
}

TEST_CASE("removing any one image changes the sum by the clipping norm at most, and by that where it is clipped") {
  const LossSetting setting = GENERATE(from_range(std::begin(every_setting), std::end(every_setting)));
  const Problem problem(setting);
  const Tensor every = at::arange(9);
  for (const double clip : {1e-3, 0.3, 3.0}) {
    const Parameters sum = problem.clipped(every, clip, problem.all());
    for (std::int64_t j = 0; j < 9; ++j) {
      const Parameters without = problem.clipped(every.masked_select(every != j), clip, problem.all());
      const double change = std::sqrt(sum.minus(without).squared_norm());
      CHECK(change <= clip * (1 + 1e-12));
      const double norm = std::sqrt(problem.gradient_of(j).squared_norm());
      CHECK(change == Approx(std::min(norm, clip)).epsilon(1e-10));
    }
  }
}

TEST_CASE("the clipped sum of no images is zero, and so is that of images without gradient") {
  const Problem problem(every_setting[3]);
  CHECK(problem.clipped(at::empty({0}, at::kLong), 1, problem.all()).squared_norm() == 0);
  const auto nothing = [](const Tensor& outputs) { return at::zeros_like(outputs); };
  CHECK(
      problem.network.clipped_pullback(problem.parameters, problem.images, nothing, 1, problem.all()).squared_norm() ==
      0);
}

TEST_CASE("networks whose layers are not known to be dense are refused") {
  const auto network = std::make_shared<ScriptedNetwork>(TEST_DATA "/dense-scripted.pt", "torchscript:dense",
                                                         std::vector<std::int64_t>{2, 3}, 2);
  Undefended undefended;
  undefended.network = network;
  undefended.initial = network->archived();
  undefended.images = at::zeros({4, 6});
  undefended.targets = at::eye(2).repeat({2, 1});
  CHECK_THROWS_WITH(released(undefended, {}), Catch::Contains("torchscript:dense") && Catch::Contains("mlp:WIDTH"));
}

TEST_CASE("each image is drawn independently with the sampling rate") {
  SecretRandom random;
  constexpr std::int64_t images = 40, rounds = 4000;
  constexpr double rate = 0.3;
  Tensor drawn = at::zeros({rounds, images}, at::kDouble);
  for (std::int64_t round = 0; round < rounds; ++round) {
    drawn[round].index_fill_(0, poisson_sample(images, rate, random), 1);
  }
  const double spread = std::sqrt(rate * (1 - rate));
  // Five standard errors each; for covariances the largest of 780 is looked at.
  CHECK((drawn.mean(0) - rate).abs().max().item<double>() < 5 * spread / std::sqrt(rounds));
  const Tensor centred = (drawn - rate) / spread;
  const Tensor correlation = at::mm(centred.t(), centred) / static_cast<double>(rounds);
  CHECK((correlation - at::eye(images, at::kDouble)).abs().max().item<double>() < 5 / std::sqrt(rounds));
  // The size of a sample varies as a binomial number does: a fixed size would not.
  const double variance = drawn.sum(1).var().item<double>();
  CHECK(variance == Approx(images * rate * (1 - rate)).epsilon(0.12));
}

TEST_CASE("the noise of a step has the stated standard deviation, over the batch, in every parameter") {
  Undefended undefended = small(10, 3000);
  undefended.recipe.momentum = 0;
  undefended.recipe.learning_rate = 0.5;
  const Given given = {{"steps", "1"}, {"clip", "0.25"}, {"noise-multiplier", "3"}};
  Given quiet = given;
  quiet["noise-multiplier"] = quiet["epsilon"] = "0";
  const Parameters noise =
      released(undefended, given).training.trained.minus(released(undefended, quiet).training.trained);
  const double expected = 0.5 * 3 * 0.25 / 10;
  for (const auto& [name, tensor] : noise.entries()) {
    if (tensor.numel() < 2) continue;
    CAPTURE(name);
    const double count = static_cast<double>(tensor.numel());
    CHECK(deviation(tensor) == Approx(expected).epsilon(5 / std::sqrt(2 * count)));
    CHECK(std::abs(tensor.mean().item<double>()) < 5 * expected / std::sqrt(count));
  }
}

TEST_CASE("noise is normal: its first four moments and its tails") {
  SecretRandom random;
  constexpr std::int64_t count = 1000000;
  const Tensor draws = at::empty({count}, at::kDouble);
  fill_normal(draws, 2, random);
  const Tensor standard = draws / 2;
  const double root = std::sqrt(static_cast<double>(count));
  const auto moment = [&](double power) { return standard.pow(power).mean().item<double>(); };
  // Six standard errors each: Var x = 1, Var x^2 = 2, Var x^3 = 15, Var x^4 = 96.
  CHECK(std::abs(moment(1)) < 6 / root);
  CHECK(std::abs(moment(2) - 1) < 6 * std::sqrt(2) / root);
  CHECK(std::abs(moment(3)) < 6 * std::sqrt(15) / root);
  CHECK(std::abs(moment(4) - 3) < 6 * std::sqrt(96) / root);
  const auto share_beyond = [&](double x) { return (standard.abs() > x).to(at::kDouble).mean().item<double>(); };
  for (const double x : {1.0, 2.0, 3.0, 4.0}) {
    const double expected = std::erfc(x / std::sqrt(2));
    CHECK(std::abs(share_beyond(x) - expected) < 6 * std::sqrt(expected) / root);
  }
  const Tensor single = at::empty({1000}, at::kFloat);
  fill_normal(single, 2, random);
  CHECK(single.std().item<float>() == Approx(2).epsilon(0.15));
}

TEST_CASE("every step draws new noise, which no seed reproduces") {
  Undefended undefended = small(10, 3000);
  undefended.recipe.momentum = 0;
  // The clipping norm is so small that steps are only noise.
  const auto after = [&](const std::string& steps) {
    return released(undefended, {{"steps", steps}, {"clip", "1e-6"}, {"noise-multiplier", "1e4"}})
        .training.trained.minus(undefended.initial);
  };
  const Parameters one = after("1"), again = after("1"), two = after("2");
  const double count = static_cast<double>(one.count());
  // The same noise twice would make it four times as large. Both squared norms vary by sqrt(2 / count).
  CHECK(two.squared_norm() == Approx(2 * one.squared_norm()).epsilon(5 * 2 / std::sqrt(count)));
  CHECK(std::abs(one.inner(again)) < 5 * one.squared_norm() / std::sqrt(count));
}

TEST_CASE("without noise and clipping it is plain gradient descent, with momentum, weight decay and frozen layers") {
  Undefended undefended = small();
  undefended.recipe.weight_decay = 1e-3;
  if (GENERATE(false, true)) undefended.recipe.frozen = {"fc1.weight"};
  const Release release =
      released(undefended, {{"steps", "60"}, {"clip", "1e9"}, {"noise-multiplier", "0"}, {"epsilon", "0"}});
  Recipe recipe = undefended.recipe;
  recipe.max_steps = 60;
  recipe.until_loss = 0;
  Generator random = seeded(1);
  Silent silent;
  const Training plain =
      train(*undefended.network, undefended.initial, undefended.images, undefended.targets, recipe, random, silent);
  const double moved = plain.trained.minus(undefended.initial).squared_norm();
  CHECK(release.training.trained.minus(plain.trained).squared_norm() < 1e-10 * moved);
  CHECK(release.training.final_loss == Approx(plain.final_loss).epsilon(1e-4));
  CHECK(release.training.curve.front().second == Approx(plain.curve.front().second));
  CHECK(release.training.curve.back().first == 60);
  CHECK(release.evidence["epsilon"].is_null());
  CHECK(release.evidence["reason"].get<std::string>().find("no noise") != std::string::npos);
}

TEST_CASE("with augmentation a step uses one shifted view of each image, in time every view, whatever the seed") {
  Undefended undefended = small(1);
  undefended.network = std::make_shared<Mlp>(6, std::vector<std::int64_t>{16}, 1, Parameterization::standard);
  Generator draws = seeded(7);
  undefended.initial = undefended.network->draw_initial(draws).value();
  undefended.images = at::randn({1, 6}, draws, at::kFloat);
  undefended.recipe.augment = 1;
  undefended.recipe.picture_shape = {2, 3};
  const Recipe& recipe = undefended.recipe;
  // The result of one step on each of the 18 views (3 x 3 shifts, mirrored or not).
  std::vector<Parameters> ends;
  const auto place_of = [&](const Parameters& end) {
    return std::find_if(ends.begin(), ends.end(),
                        [&](const Parameters& known) {
                          return known.minus(end).squared_norm() < 1e-10 * end.minus(undefended.initial).squared_norm();
                        }) -
           ends.begin();
  };
  for (int k = 0; k < 500; ++k) {
    const Tensor view = augmented(undefended.images, recipe.picture_shape, recipe.augment, draws);
    const Parameters gradient = undefended.network->pullback(undefended.initial, view, [&](const Tensor& outputs) {
      return cotangents(recipe.loss, outputs, undefended.targets);
    });
    const Parameters end = undefended.initial.plus(gradient, -recipe.learning_rate);
    if (place_of(end) == static_cast<std::ptrdiff_t>(ends.size())) ends.push_back(end);
  }
  REQUIRE(ends.size() == 18);
  const Given given = {{"steps", "1"}, {"clip", "1e9"}, {"noise-multiplier", "0"}, {"epsilon", "0"}};
  std::vector<bool> seen(ends.size(), false);
  for (int run = 0; run < 400; ++run) {
    const auto place = static_cast<std::size_t>(place_of(released(undefended, given).training.trained));
    REQUIRE(place < ends.size());
    seen[place] = true;
  }
  // The chance that one of 18 is missed in 400 draws is 18 (17/18)^400 = 2e-9.
  CHECK(std::all_of(seen.begin(), seen.end(), [](bool was) { return was; }));
}

TEST_CASE("frozen parameters keep their values under noise") {
  Undefended undefended = small();
  undefended.recipe.frozen = {"fc1"};
  const Release release = released(undefended, {{"steps", "5"}});
  CHECK(at::equal(release.training.trained.at("fc1.weight"), undefended.initial.at("fc1.weight")));
  CHECK_FALSE(at::equal(release.training.trained.at("fc2.weight"), undefended.initial.at("fc2.weight")));
}

TEST_CASE("an interrupted DP-SGD run resumes to the same result") {
  const Undefended undefended = small();
  // Without noise and sampling, which cannot be reproduced.
  const Given given = {{"steps", "150"}, {"noise-multiplier", "0"}, {"epsilon", "0"}};
  Recorder whole;
  const Release expected = released(undefended, given, whole);
  REQUIRE(whole.states.size() == 150);
  for (const std::size_t at : {0, 1, 77, 149}) {
    Recorder resumed(whole.states[at]);
    const Release release = released(undefended, given, resumed, /*seed=*/99);
    CHECK(equal(release.training.trained, expected.training.trained));
    CHECK(release.training.curve == expected.training.curve);
    CHECK(resumed.states.size() == 150 - at);
  }
  const Given noisy = {{"steps", "150"}, {"batch", "5"}, {"noise-multiplier", "1.5"}};
  Recorder once;
  released(undefended, noisy, once);
  Recorder resumed(once.states[77]);
  released(undefended, noisy, resumed);
  CHECK(resumed.states.size() == 150 - 77);
  // The stored state must not reveal the noise.
  for (const auto& [name, array] : once.states[77].arrays()) {
    CAPTURE(name);
    CHECK((name == "step" || name == "losses" || name.find("weights.") == 0 || name.find("velocity.") == 0));
  }
}

TEST_CASE("the evidence is the accountant's figure for the steps that were made") {
  const Undefended undefended = small();
  const Release asked = released(undefended, {{"steps", "40"}, {"batch", "4"}, {"epsilon", "2"}, {"delta", "1e-3"}});
  const double noise = asked.evidence["noise_multiplier"], spent = asked.evidence["epsilon"];
  Undefended centred = undefended;
  centred.mean_of_images = true;  // so that each image changes all inputs
  const Release unproven = released(centred, {{"steps", "40"}, {"batch", "4"}, {"epsilon", "2"}, {"delta", "1e-3"}});
  CHECK(unproven.evidence["epsilon"].is_null());
  CHECK(unproven.evidence["epsilon_of_steps"] == spent);
  CHECK(unproven.evidence["reason"].get<std::string>().find("--mean public") != std::string::npos);
  CHECK(spent <= 2);
  CHECK(spent == Approx(2).epsilon(1e-5));
  CHECK(spent == privacy_spent({{noise, 0.2, 40}}, 1e-3).epsilon);
  CHECK(asked.evidence["sampling_rate"] == 0.2);
  CHECK(asked.evidence["steps"] == 40);
  CHECK(asked.training.steps == 40);
  const Release fallback = released(undefended, {{"steps", "3"}, {"noise-multiplier", "2"}});
  CHECK(fallback.evidence["delta"] == 0.1 / 20);
  CHECK(fallback.evidence["sampling_rate"] == 1);
  CHECK(fallback.evidence["noise_multiplier"] == 2);
}

TEST_CASE("DP-SGD refuses settings that it cannot follow") {
  const auto refused = [](const std::function<void(Undefended&, Given&)>& change) {
    Undefended undefended = small();
    Given given = {{"steps", "30"}};
    change(undefended, given);
    try {
      released(undefended, given);
    } catch (const UsageError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(refused([](Undefended&, Given&) {}).empty());
  CHECK(refused([](Undefended& run, Given&) { run.recipe.optimizer = Optimizer::adam; }).find("adam") !=
        std::string::npos);
  CHECK_FALSE(refused([](Undefended& run, Given&) { run.recipe.over_loss = true; }).empty());
  CHECK_FALSE(refused([](Undefended& run, Given&) { run.recipe.loss = LossKind::cross_entropy; }).empty());
  CHECK(refused([](Undefended&, Given& given) { given["batch"] = "21"; }).find("--batch") != std::string::npos);
  CHECK(refused([](Undefended&, Given& given) { given["learning-rate"] = "1e5"; }).find("diverged") !=
        std::string::npos);
  CHECK(refused([](Undefended&, Given& given) { given["epsilon"] = given["delta"] = "1e-9"; }).find("--epsilon") !=
        std::string::npos);
  const Defense& defense = defense_named("dp-sgd");
  CHECK_THROWS_AS(defense.configured({{"clip", "0"}}), UsageError);
  CHECK_THROWS_AS(defense.configured({{"steps", "0"}}), UsageError);
  CHECK_NOTHROW(defense.configured());
  CHECK(defense.name == "dp-sgd");
}

}  // namespace afterimage
