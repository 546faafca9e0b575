#include "defenses/rcig.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "defenses/adabelief.h"
#include "defenses/baselines.h"
#include "defenses/convexified_training.h"
#include "models/foundations/error.h"
#include "tests/attacks/recorder.h"

namespace afterimage {
namespace {

// Blurred bars, upright or lying, and blobs in a corner, in noise: 8 x 8 pixels off by their mean.
Undefended pictures(std::int64_t classes, std::int64_t count) {
  Generator random = seeded(11);
  const Tensor labels = at::arange(count, at::kLong) % classes;
  Tensor images = at::rand({count, 8, 8}, random, at::kFloat).mul_(0.3);
  const Tensor places = at::randint(1, 7, {count}, random, at::kLong);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto place = places[i].item<std::int64_t>(), label = labels[i].item<std::int64_t>();
    if (label == 0) images[i].select(0, place).add_(0.7);
    if (label == 1) images[i].select(1, place).add_(0.7);
    if (label == 2) images[i].narrow(0, 0, 3).narrow(1, place / 2, 3).add_(0.7);
  }
  Undefended undefended;
  const Tensor flat = images.reshape({count, 64});
  const Tensor mean = flat.mean(0);
  undefended.images = flat - mean;
  undefended.space = {{8, 8}, mean};
  undefended.targets =
      classes == 2 ? (labels * 2 - 1).to(at::kFloat).unsqueeze(1) : at::one_hot(labels, classes).to(at::kFloat);
  return undefended;
}

using Given = std::map<std::string, std::string>;

Given small(Given given = {}) {
  const Given defaults = {{"per-class", "2"}, {"distillation-steps", "8"}, {"batch", "60"},       {"channels", "4"},
                          {"pool", "2"},      {"inner-steps", "5"},        {"hessian-steps", "5"}};
  given.insert(defaults.begin(), defaults.end());
  return given;
}

SupportSet distilled(const Undefended& undefended, const Given& given, StateStore& store) {
  Generator random = seeded(3);
  Silent silent;
  Job job{random, silent, store};
  return rcig_defense().configured(given).distill(undefended, job);
}

SupportSet distilled(const Undefended& undefended, const Given& given) {
  NullStore no_store;
  return distilled(undefended, given, no_store);
}

// The mean accuracy on the pictures of new networks after convexified training on the set.
double taught_by(const SupportSet& set, const Undefended& undefended) {
  constexpr std::uint64_t networks = 5;
  const ConvolutionalNetwork network(undefended.space.shape, 4, undefended.targets.size(1));
  const double shift = undefended.targets.size(1) == 1 ? 0 : 1 / static_cast<double>(undefended.targets.size(1));
  double sum = 0;
  for (std::uint64_t seed = 0; seed < networks; ++seed) {
    Generator random = seeded(70 + seed);
    const Tensor parameters = network.initial(random, at::kDouble);
    const ConvexifiedTraining training(network, parameters, set.images * 3, set.targets - shift, 1e-3, {});
    const Linearization pictures(network, parameters, undefended.images * 3, {});
    sum += accuracy(training.predict(pictures, training.minimum(20).value), undefended.targets.to(at::kDouble));
  }
  return sum / networks;
}

}  // namespace

TEST_CASE("AdaBelief takes the steps of its paper's algorithm 2") {
  Tensor parameter = at::full({1}, 1.0, at::kDouble);
  AdaBelief steps(parameter);
  double theta = 1, m = 0, s = 0;
  const double gradients[] = {0.5, -0.2, 0.3};
  for (int t = 1; t <= 3; ++t) {
    const double g = gradients[t - 1];
    m = 0.9 * m + 0.1 * g;
    s = 0.999 * s + 0.001 * (g - m) * (g - m) + 1e-16;
    theta -= 0.01 * (m / (1 - std::pow(0.9, t))) / (std::sqrt(s / (1 - std::pow(0.999, t))) + 1e-16);
    steps.step(parameter, at::full({1}, g, at::kDouble), 0.01);
    CHECK(parameter.item<double>() == Approx(theta).epsilon(1e-12));
  }
  // In the first step the belief differs from the gradient by 0.9 g, and the step is rate / 0.9 against it.
  Tensor other = at::zeros({1}, at::kDouble);
  AdaBelief(other).step(other, at::full({1}, 7.0, at::kDouble), 0.01);
  CHECK(other.item<double>() == Approx(-0.01 / 0.9).epsilon(1e-12));
}

TEST_CASE("a resumed RCIG run gives the same images and labels as one that was never interrupted") {
  const Undefended undefended = pictures(3, 90);
  Recorder whole;
  const SupportSet uninterrupted = distilled(undefended, small(), whole);
  REQUIRE(whole.states.size() == 8);
  Recorder rest(whole.states[5]);
  const SupportSet resumed = distilled(undefended, small(), rest);
  CHECK(rest.states.size() == 3);
  CHECK(at::equal(resumed.images, uninterrupted.images));
  CHECK(at::equal(resumed.targets, uninterrupted.targets));
  CHECK(resumed.evidence == uninterrupted.evidence);
}

TEST_CASE("RCIG's images lie inside the bounds and carry as many targets as there are images of each class") {
  const Undefended undefended = pictures(3, 90);
  for (const std::string start : {"noise", "images"}) {
    const SupportSet set = distilled(undefended, small({{"image-rate", "1"}, {"start", start}}));
    REQUIRE(set.images.sizes() == at::IntArrayRef({6, 64}));
    REQUIRE(set.targets.sizes() == at::IntArrayRef({6, 3}));
    const Tensor pixels = undefended.space.pixels(set.images);
    CHECK(pixels.min().item<double>() >= -1e-6);
    CHECK(pixels.max().item<double>() <= 1 + 1e-6);
    CHECK(set.images.isfinite().all().item<bool>());
    CHECK(set.targets.isfinite().all().item<bool>());
  }
}

TEST_CASE("RCIG lowers the outer loss, and new networks learn more from its images than from noise") {
  for (const std::int64_t classes : {2, 3}) {
    const Undefended undefended = pictures(classes, 150);
    const SupportSet start = distilled(undefended, small({{"distillation-steps", "1"}, {"image-rate", "1e-6"}}));
    const SupportSet set =
        distilled(undefended, small({{"distillation-steps", "60"}, {"image-rate", "0.1"}, {"pool", "6"}}));
    const double first = set.evidence.at("loss_initial"), last = set.evidence.at("loss_final");
    CHECK(last < 0.7 * first);
    CHECK(taught_by(set, undefended) > taught_by(start, undefended) + 0.1);
  }
}

TEST_CASE("RCIG changes labels only where they are learned") {
  const Undefended undefended = pictures(3, 90);
  const SupportSet held = distilled(undefended, small({{"labels", "fixed"}}));
  CHECK(at::allclose(held.targets, class_targets(undefended, 2)));
  CHECK_FALSE(at::allclose(distilled(undefended, small()).targets, class_targets(undefended, 2)));
}

TEST_CASE("with a recipe of cross-entropy RCIG's targets are probabilities") {
  Undefended undefended = pictures(3, 90);
  undefended.recipe.loss = LossKind::cross_entropy;
  const Tensor targets = distilled(undefended, small({{"image-rate", "0.3"}})).targets;
  CHECK(targets.min().item<double>() >= 0);
  CHECK(at::allclose(targets.sum(1), at::ones({6})));
}

TEST_CASE("RCIG returns the images that it has when its time is up") {
  const Undefended undefended = pictures(3, 90);
  Generator random = seeded(3);
  Silent silent;
  silent.end_after(std::chrono::seconds(0));
  NullStore no_store;
  Job job{random, silent, no_store};
  const SupportSet set = rcig_defense().configured(small()).distill(undefended, job);
  CHECK(set.evidence.at("steps") == 0);
  CHECK(set.images.sizes() == at::IntArrayRef({6, 64}));
}

TEST_CASE("RCIG refuses data without height and width and says what would be right") {
  Undefended undefended = pictures(3, 90);
  undefended.space.shape = {64};
  CHECK_THROWS_WITH(distilled(undefended, small()), Catch::Contains("flat") && Catch::Contains("[h, w]"));
  CHECK_THROWS_AS(distilled(undefended, small()), UsageError);
}

TEST_CASE("RCIG refuses invalid options by name") {
  const auto wrong = [](const std::string& name, const std::string& value) {
    CHECK_THROWS_WITH(rcig_defense().configured({{name, value}}), Catch::Contains(name));
  };
  wrong("per-class", "0");
  wrong("pool", "0");
  wrong("channels", "none");
  wrong("image-rate", "-1");
  wrong("labels", "maybe");
  wrong("start", "zeros");
  CHECK(defense_named("rcig").distills);
}

}  // namespace afterimage
