// Networks of which only the last layer was trained: what its change reveals about the images.
#include "attacks/solver/last_layer.h"

#include <catch2/catch.hpp>

#include "attacks/attack.h"
#include "attacks/scoring/score.h"
#include "models/mlp.h"
#include "models/scripted_network.h"
#include "tests/attacks/released.h"

namespace afterimage {
namespace {

constexpr std::int64_t pixels = 64, outputs = 10;

struct Tuned {
  Subject subject;
  Tensor images, others;
};

Tensor pictures(std::int64_t count, Generator& random) { return at::rand({count, pixels}, random, at::kFloat); }

// Weights as drawn, and a head trained on random pictures with labels in turn.
Tuned tuned_head(const std::shared_ptr<Network>& network, const Parameters& initial, std::int64_t count, Recipe recipe,
                 std::vector<std::string> frozen) {
  Generator random = seeded(4);
  Tuned result;
  result.images = pictures(count, random);
  result.others = pictures(200, random);
  const std::int64_t classes = network->outputs();
  const Tensor labels = at::arange(count);
  const Tensor targets = classes == 1 ? (labels.remainder(2) * 2 - 1).to(at::kFloat).unsqueeze(1)
                                      : at::one_hot(labels.remainder(classes), classes).to(at::kFloat);
  recipe.frozen = std::move(frozen);
  Silent silent;
  released(result.subject).network = network;
  released(result.subject).initial = initial;
  released(result.subject).trained = train(*network, initial, result.images, targets, recipe, random, silent).trained;
  result.subject.space = {{8, 8}, at::zeros({pixels})};
  result.subject.loss = recipe.loss;
  return result;
}

Tuned tuned_mlp(std::int64_t count, const Recipe& recipe, std::int64_t classes = outputs) {
  const auto network =
      std::make_shared<Mlp>(pixels, std::vector<std::int64_t>{96, 128}, classes, Parameterization::standard);
  Generator random = seeded(3);
  return tuned_head(network, network->draw_initial(random).value(), count, recipe, {"fc1", "fc2"});
}

Recipe recipe_of(LossKind loss, double until = 1e-6) {
  Recipe recipe;
  recipe.loss = loss;
  recipe.learning_rate = 0.05;
  recipe.max_steps = 6000;
  recipe.until_loss = until;
  return recipe;
}

Reconstruction probe(const Subject& subject) {
  Generator random = seeded(1);
  Silent silent;
  NullStore no_store;
  Job job{random, silent, no_store};
  return attack_named("span").configured().run(subject, {}, job);
}

// The gap between the scores of members and of others: the smallest distance of others over the largest of members.
// Above one they are separated.
double separation(const Reconstruction& found, const Tuned& tuned) {
  const Tensor members = found.claim.membership(tuned.images).neg(),
               others = found.claim.membership(tuned.others).neg();
  return (others.min() / members.max()).item<double>();
}

double auc(const Reconstruction& found, const Tuned& tuned) {
  const Truth truth{tuned.images, tuned.others, tuned.subject.space};
  Generator random = seeded(2);
  return score(found.claim, truth, random).membership->auc;
}

}  // namespace

TEST_CASE("features of the last layer are its inputs, in dense and in convolutional networks") {
  const Tuned tuned = tuned_mlp(5, recipe_of(LossKind::squared));
  const auto layer = trained_last_layer(released(tuned.subject));
  REQUIRE(layer);
  REQUIRE(layer->bias);
  const Parameters& p = released(tuned.subject).trained;
  const auto dense = [&](const Tensor& x, const std::string& name) {
    return at::relu(at::addmm(p.at(name + ".bias"), x, p.at(name + ".weight").t()));
  };
  const Tensor expected = dense(dense(tuned.others, "fc1"), "fc2");
  const Tensor features = last_layer_features(*released(tuned.subject).network, p, *layer, tuned.others);
  CHECK(features.size(1) == 129);
  CHECK((features.narrow(1, 0, 128) - expected).norm().item<double>() < 1e-5 * expected.norm().item<double>());
  CHECK(features.select(1, 128).equal(at::ones({200}, at::kDouble)));

  const auto conv = std::make_shared<ScriptedNetwork>(std::string(TEST_DATA) + "/conv-traced.pt", "torchscript:conv",
                                                      std::vector<std::int64_t>{8, 8}, 2);
  const Tuned scripted = tuned_head(conv, conv->archived(), 3, recipe_of(LossKind::squared), {"conv."});
  const auto last = trained_last_layer(released(scripted.subject));
  REQUIRE(last);
  const Parameters& q = conv->archived();
  const Tensor below = at::relu(at::conv2d(scripted.others.reshape({-1, 1, 8, 8}), q.at("conv.weight"),
                                           q.at("conv.bias"), /*stride=*/2, /*padding=*/1))
                           .flatten(1);
  const Tensor found =
      last_layer_features(*conv, released(scripted.subject).trained, *last, scripted.others).narrow(1, 0, 48);
  CHECK((found - below).norm().item<double>() < 1e-5 * below.norm().item<double>());
}

TEST_CASE("fewer images than outputs are counted by the last layer's change and told from all others") {
  Recipe batches = recipe_of(LossKind::cross_entropy, 1e-2);
  batches.batch = 2;
  Recipe decay = recipe_of(LossKind::squared);
  decay.weight_decay = 1e-3;
  decay.max_steps = 500;
  for (const Recipe& recipe :
       {recipe_of(LossKind::squared), recipe_of(LossKind::cross_entropy, 1e-2), batches, decay}) {
    CAPTURE(name_of(recipe.loss), recipe.batch, recipe.weight_decay);
    for (const std::int64_t count : {1, 5, 7}) {
      CAPTURE(count);
      const Tuned tuned = tuned_mlp(count, recipe);
      const Reconstruction found = probe(tuned.subject);
      CHECK(found.status == Status::ok);
      CHECK(found.evidence["layer"] == "last");
      CHECK(found.evidence["rank"] == count);
      CHECK(separation(found, tuned) > 10);
    }
  }
}

TEST_CASE("with as many images as outputs none are counted, and a fitted squared loss tells them from others") {
  for (const std::int64_t classes : {1, 2, 10}) {
    for (const std::int64_t count : {10, 40}) {
      CAPTURE(classes, count);
      Recipe recipe = recipe_of(LossKind::squared, 1e-7);
      recipe.max_steps = 60000;
      const Tuned tuned = tuned_mlp(count, recipe, classes);
      const Reconstruction found = probe(tuned.subject);
      CHECK(found.status == Status::ok);
      CHECK_FALSE(found.evidence.contains("rank"));
      CHECK(auc(found, tuned) > (classes == 1 ? 0.95 : 0.99));
    }
  }
}

TEST_CASE("without target outputs, as many images as outputs are neither counted nor told from others") {
  const Tuned tuned = tuned_mlp(40, recipe_of(LossKind::cross_entropy, 1e-2));
  const Reconstruction found = probe(tuned.subject);
  CHECK(found.status == Status::not_applicable);
  CHECK(found.reason.find("only the last layer was trained") != std::string::npos);
  CHECK_FALSE(found.claim.membership);
}

TEST_CASE("behind frozen layers the first trained layer's change counts images and tells them from others") {
  const auto network =
      std::make_shared<Mlp>(pixels, std::vector<std::int64_t>{96, 128, 64}, outputs, Parameterization::standard);
  Generator random = seeded(3);
  const Parameters initial = network->draw_initial(random).value();
  for (const std::vector<std::string>& frozen : {std::vector<std::string>{"fc1"}, {"fc1", "fc2"}}) {
    const Tuned tuned = tuned_head(network, initial, 12, recipe_of(LossKind::cross_entropy, 1e-2), frozen);
    CHECK(first_trained_layer(released(tuned.subject)) == frozen.size());
    const Reconstruction found = probe(tuned.subject);
    CHECK(found.status == Status::ok);
    CHECK(found.evidence["layer"] == frozen.size() + 1);
    CHECK(found.evidence["rank"] == 12);
    CHECK(separation(found, tuned) > 10);
  }
  CHECK(first_trained_layer(released(tuned_head(network, initial, 12, recipe_of(LossKind::squared), {}).subject)) == 0);
}

TEST_CASE("after Adam the last layer's change counts no images") {
  Recipe adam = recipe_of(LossKind::squared);
  adam.optimizer = Optimizer::adam;
  adam.learning_rate = 1e-3;
  const Tuned tuned = tuned_mlp(5, adam);
  const Reconstruction found = probe(tuned.subject);
  CHECK_FALSE(found.evidence.contains("rank"));
  CHECK(auc(found, tuned) > 0.99);  // although the squared loss was fitted
}

TEST_CASE("a subject with other trained layers or an unknown start was not trained in its last layer only") {
  Tuned tuned = tuned_mlp(5, recipe_of(LossKind::squared));
  TrainedNetwork more = released(tuned.subject);
  more.trained = more.trained.clone();
  more.trained.at("fc2.bias").add_(0.1);
  CHECK_FALSE(trained_last_layer(more));
  TrainedNetwork unknown = released(tuned.subject);
  unknown.initial = {};
  CHECK_FALSE(trained_last_layer(unknown));
  // A hidden layer with as many units as there are outputs moves in a weight of the same shape: it is not the last.
  const auto narrow = std::make_shared<Mlp>(pixels, std::vector<std::int64_t>{96, 10}, 10, Parameterization::standard);
  Generator random = seeded(3);
  const Parameters initial = narrow->draw_initial(random).value();
  const Tuned hidden = tuned_head(narrow, initial, 5, recipe_of(LossKind::squared), {"fc1", "fc3"});
  CHECK_FALSE(trained_last_layer(released(hidden.subject)));
}

}  // namespace afterimage
