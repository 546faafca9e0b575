// Attacks on networks whose derivatives only autograd computes.
#include <catch2/catch.hpp>

#include "attacks/attack.h"
#include "attacks/scoring/score.h"
#include "attacks/solver/fit.h"
#include "models/scripted_network.h"
#include "models/tangent/autograd.h"
#include "tests/attacks/released.h"

namespace afterimage {
namespace {

struct Trained {
  Subject subject;
  Truth truth;
};

// [count, 64] pictures of two kinds: bright above, or bright below.
Tensor noisy_pictures(std::int64_t count, Generator& random) {
  Tensor images = at::rand({count, 8, 8}, random, at::kFloat) * 0.5;
  for (std::int64_t i = 0; i < count; ++i) images[i].narrow(0, 4 * (i % 2), 4).add_(0.5);
  return images.flatten(1);
}

// Rectangles, each of one brightness on another.
Tensor smooth_pictures(std::int64_t count, Generator& random) {
  const Tensor grey = at::rand({count, 2}, random, at::kFloat),
               corners = at::randint(0, 4, {count, 2}, random, at::kLong);
  Tensor images = grey.select(1, 0).view({count, 1, 1}).repeat({1, 8, 8});
  for (std::int64_t i = 0; i < count; ++i) {
    images[i]
        .narrow(0, corners[i][0].item<std::int64_t>(), 4)
        .narrow(1, corners[i][1].item<std::int64_t>(), 5)
        .copy_(grey[i][1].expand({4, 5}));
  }
  return images.flatten(1);
}

// A small convolutional network trained on such pictures, each class in turn.
Trained trained_conv(Tensor (*pictures)(std::int64_t, Generator&) = noisy_pictures, std::int64_t count = 4) {
  Generator random = seeded(6);
  const auto network = std::make_shared<ScriptedNetwork>(std::string(TEST_DATA) + "/conv-traced.pt", "torchscript:conv",
                                                         std::vector<std::int64_t>{8, 8}, 2);
  Recipe recipe;
  recipe.learning_rate = 0.05;
  recipe.max_steps = 1000;
  const Tensor training = pictures(count, random), mean = training.mean(0);
  Silent silent;
  Trained result;
  released(result.subject).network = network;
  released(result.subject).initial = network->archived();
  released(result.subject).trained =
      train(*network, network->archived(), training - mean,
            at::one_hot(at::arange(count).remainder(2), 2).to(at::kFloat), recipe, random, silent)
          .trained;
  result.subject.space = {{8, 8}, mean};
  result.subject.loss = LossKind::squared;
  result.truth = {training - mean, pictures(200, random) - mean, result.subject.space};
  return result;
}

Reconstruction attack(const Subject& subject, const std::map<std::string, std::string>& options) {
  Generator random = seeded(1);
  Silent silent;
  NullStore no_store;
  Job job{random, silent, no_store};
  return attack_named("finite-width").configured(options).run(subject, {}, job);
}

}  // namespace

TEST_CASE("a wrong image that fits a convolutional network is not confirmed, and the evidence says that none can be") {
  const Trained trained = trained_conv();
  const Reconstruction found = attack(trained.subject, {{"candidates", "8"}, {"steps", "200"}});
  Generator random = seeded(2);
  const Score score = afterimage::score(found.claim, trained.truth, random);
  // Such images exist, so the check is not vacuous.
  CHECK(score.reconstructed->count == 0);
  CHECK(fitted(trained.subject, found.claim.images, 0.25).any().item<bool>());
  CHECK(score.confirmed.value_or(0) == score.confirmed_right.value_or(0));
  CHECK_FALSE(found.claim.confirmed.defined());
  CHECK(found.evidence["confirmation"].get<std::string>().starts_with("none"));
}

TEST_CASE("the smoothness prior brings reconstructions of a convolutional network nearer to its training images") {
  const Trained trained = trained_conv(smooth_pictures, 2);
  const auto distance = [&](const std::string& smoothness) {
    const auto found = attack(trained.subject, {{"smoothness", smoothness}, {"candidates", "6"}, {"steps", "600"}});
    Generator random = seeded(2);
    const auto score = afterimage::score(found.claim, trained.truth, random);
    return *score.mean_relative_distance;
  };
  CHECK(distance("auto") < 0.8 * distance("0"));
}

TEST_CASE("the estimated memory of an attack through autograd is right within a factor of one and a half") {
  const Subject subject = trained_conv().subject;
  const Attack& finite = attack_named("finite-width");
  for (const std::string candidates : {"8", "100", "400"}) {
    CAPTURE(candidates);
    const std::map<std::string, std::string> options = {{"candidates", candidates}, {"steps", "2"}};
    const Estimate estimate = finite.configured(options).estimate(subject, 4);
    const double taken = peak_bytes_of([&] { attack(subject, options); });
    CAPTURE(estimate.bytes, taken);
    CHECK(estimate.bytes < 1.5 * taken);
    CHECK(estimate.bytes > taken / 1.5);
    CHECK(estimate.seconds > 0);
  }
}

}  // namespace afterimage
