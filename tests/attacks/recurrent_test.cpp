// What the input matrix of a recurrent network says of the time slices that it was trained on.
#include <catch2/catch.hpp>

#include "attacks/attack.h"
#include "models/connected_networks.h"
#include "tests/attacks/released.h"

namespace afterimage {
namespace {

struct Trained {
  Subject subject;
  Tensor images, others;
};

// Sequences of two slices of 30 numbers.
Trained trained_on(std::int64_t count, const std::string& architecture, Optimizer optimizer = Optimizer::sgd) {
  constexpr std::int64_t steps = 2, numbers = 30;
  Generator random = seeded(5);
  Trained result;
  result.images = at::randn({count, steps * numbers}, random, at::kFloat);
  result.others = at::randn({50, steps * numbers}, random, at::kFloat);
  const std::shared_ptr<const Network> network = make_connected_network(architecture, {steps, numbers}, 1);
  released(result.subject).network = network;
  released(result.subject).initial = network->draw_initial(random).value();
  Recipe recipe;
  recipe.optimizer = optimizer;
  recipe.learning_rate = 0.02;
  recipe.max_steps = 200;
  const Tensor targets = (at::arange(count).remainder(2) * 2 - 1).to(at::kFloat).unsqueeze(1);
  Silent silent;
  released(result.subject).trained =
      train(*network, released(result.subject).initial, result.images, targets, recipe, random, silent).trained;
  result.subject.space = {{steps, numbers}, at::zeros({steps * numbers}), -5, 5};
  result.subject.loss = LossKind::squared;
  return result;
}

Reconstruction span_of(const Subject& subject) {
  Generator random = seeded(1);
  Silent progress;
  NullStore store;
  Job job{random, progress, store};
  return attack_named("span").configured().run(subject, {}, job);
}

}  // namespace

TEST_CASE("the rows of a recurrent network's input matrix change in the span of all time slices") {
  for (const std::string architecture :
       {"rnn:24", "lstm:24,rank=6", "gru:24,sparsity=0.5", "cfc:24,rank=8,sparsity=0.3"}) {
    CAPTURE(architecture);
    const Trained trained = trained_on(4, architecture);
    const Reconstruction found = span_of(trained.subject);
    REQUIRE(found.status == Status::ok);
    CHECK(found.evidence["rank"] == 8);  // four sequences of two slices
    REQUIRE(found.claim.membership);
    CHECK(found.claim.membership(trained.images).min().item<double>() > -1e-3);
    CHECK(found.claim.membership(trained.others).max().item<double>() < -0.3);
  }
}

TEST_CASE("where the time slices fill their space the span probe does not apply, and says why") {
  const Reconstruction found = span_of(trained_on(20, "rnn:24").subject);
  CHECK(found.status == Status::not_applicable);
  CHECK_THAT(found.reason,
             Catch::Contains("time slices of 30 numbers, 2 of each image") && Catch::Contains("full rank"));
}

}  // namespace afterimage
