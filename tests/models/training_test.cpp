#include "models/training.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <catch2/catch.hpp>
#include <set>
#include <tuple>

#include "models/augmentation.h"
#include "models/foundations/error.h"
#include "models/mlp.h"
#include "tests/models/targets.h"

namespace afterimage {

TEST_CASE("training follows the gradient that autograd gives, for every loss and parameterization") {
  const auto setting = GENERATE(LossSetting{1, LossKind::squared, Parameterization::standard},
                                LossSetting{3, LossKind::squared, Parameterization::ntk},
                                LossSetting{1, LossKind::logistic, Parameterization::ntk},
                                LossSetting{3, LossKind::cross_entropy, Parameterization::standard});
  const Mlp network(6, {5, 4}, setting.outputs, setting.parameterization);
  Generator random = seeded(2);
  const Parameters initial = network.draw_initial(random).value();
  const Tensor images = at::randn({7, 6}, random, at::kFloat), targets = targets_in_turn(setting.outputs, 7);
  std::vector<Tensor> weights;
  for (const auto& [name, tensor] : initial.entries()) weights.push_back(tensor.clone().requires_grad_(true));
  Tensor h = images;
  for (std::int64_t l = 0; l < network.layers(); ++l) {
    h = torch::matmul(h, weights[2 * l].t()) * network.weight_scale(l) + weights[2 * l + 1];
    if (l + 1 < network.layers()) h = torch::relu(h);
  }
  const Tensor loss = setting.loss == LossKind::squared    ? (h - targets).pow(2).sum(1).mean() / 2
                      : setting.loss == LossKind::logistic ? torch::log1p(torch::exp(-targets * h)).mean()
                                                           : -(torch::log_softmax(h, 1) * targets).sum(1).mean();
  const auto gradient = torch::autograd::grad({loss}, weights);

  Recipe recipe;
  recipe.loss = setting.loss;
  recipe.learning_rate = 0.1;
  recipe.momentum = 0;
  recipe.max_steps = 1;
  Silent silent;
  const Training result = train(network, initial, images, targets, recipe, random, silent);
  CHECK(loss_of(setting.loss, network.evaluate(initial, images), targets) == Approx(loss.item<double>()).epsilon(1e-5));
  for (std::size_t i = 0; i < weights.size(); ++i) {
    CHECK(at::allclose(result.trained[i], initial[i] - 0.1 * gradient[i], 1e-4, 1e-6));
  }
}

TEST_CASE("gradients over the loss bring the logistic loss down at an even rate, along the path of plain ones") {
  const Mlp network(4, {32}, 1, Parameterization::standard);
  Generator random = seeded(3);
  const Parameters initial = network.draw_initial(random).value();
  const Tensor images = at::randn({6, 4}, random, at::kFloat);
  const Tensor targets = targets_in_turn(1, 6);
  Recipe recipe;
  recipe.loss = LossKind::logistic;
  recipe.learning_rate = 1e-2;
  recipe.momentum = 0;
  recipe.until_loss = 1e-3;
  Silent silent;
  const Training plain = train(network, initial, images, targets, recipe, random, silent);
  recipe.over_loss = true;
  const Training even = train(network, initial, images, targets, recipe, random, silent);
  REQUIRE(plain.stopped_by == "loss");
  CHECK(even.steps * 10 < plain.steps);
  const Parameters change = plain.trained.minus(initial);
  // Both paths are the same curve, followed in steps of different lengths, up to where each crosses the loss.
  CHECK(even.trained.minus(plain.trained).squared_norm() < 1e-2 * change.squared_norm());
  recipe.until_loss = 1e-12;
  recipe.max_steps = 4 * even.steps + 1000;
  CHECK(train(network, initial, images, targets, recipe, random, silent).stopped_by == "loss");
}

TEST_CASE("training stops at a loss, a step count or a plateau, and records which") {
  const Mlp network(4, {32}, 1, Parameterization::standard);
  Generator random = seeded(1);
  const Parameters initial = network.draw_initial(random).value();
  const Tensor images = at::randn({4, 4}, random, at::kFloat), targets = targets_in_turn(1, 4);
  Silent silent;
  const auto stopped_by = [&](Recipe recipe) {
    return train(network, initial, images, targets, recipe, random, silent).stopped_by;
  };
  Recipe recipe;
  recipe.learning_rate = 0.05;
  recipe.until_loss = 1e-3;
  CHECK(stopped_by(recipe) == "loss");
  recipe.max_steps = 3;
  CHECK(stopped_by(recipe) == "steps");
  recipe.max_steps = 100000;
  recipe.until_loss = 0;
  recipe.learning_rate = 1e-12;
  recipe.patience = 20;
  CHECK(stopped_by(recipe) == "plateau");
  recipe.learning_rate = 1e6;
  CHECK_THROWS_AS(stopped_by(recipe), UsageError);
  recipe.loss = LossKind::cross_entropy;
  CHECK_THROWS_AS(stopped_by(recipe), UsageError);
}

TEST_CASE("augmented images are mirrored and shifted, with zeros where pixels were shifted in") {
  Generator random = seeded(8);
  for (const std::vector<std::int64_t>& shape : {std::vector<std::int64_t>{5, 4}, {5, 4, 3}}) {
    const Tensor images = at::rand({60, shape.size() == 2 ? 20 : 60}, random, at::kFloat) + 1;
    const Tensor seen = augmented(images, shape, 2, random);
    REQUIRE(seen.sizes() == images.sizes());
    std::set<std::tuple<int, int, int>> moves;
    for (std::int64_t i = 0; i < 60; ++i) {
      const Tensor from = images[i].reshape({5, 4, -1}), to = seen[i].reshape({5, 4, -1});
      int found = 0;  // of all moves there are, pixel by pixel, exactly one explains it
      for (int mirror = 0; mirror < 2; ++mirror) {
        for (int down = -2; down <= 2; ++down) {
          for (int right = -2; right <= 2; ++right) {
            bool same = true;
            for (int y = 0; y < 5 && same; ++y) {
              for (int x = 0; x < 4 && same; ++x) {
                const int row = y - down, column = mirror != 0 ? 3 - (x - right) : x - right;
                const bool inside = row >= 0 && row < 5 && x - right >= 0 && x - right < 4;
                same = inside ? to[y][x].equal(from[row][column]) : to[y][x].abs().max().item<float>() == 0;
              }
            }
            if (!same) continue;
            ++found;
            moves.insert({mirror, down, right});
          }
        }
      }
      CHECK(found == 1);
    }
    CHECK(moves.size() > 20);  // of 50
  }
  CHECK(augmented(at::zeros({0, 20}), {5, 4}, 2, random).size(0) == 0);  // as Poisson sampling may draw none
  CHECK_THROWS_AS(augmented(at::zeros({2, 20}), {20}, 1, random), UsageError);
  CHECK_THROWS_AS(augmented(at::zeros({2, 20}), {5, 4}, 4, random), UsageError);
}

TEST_CASE("cross-entropy takes probabilities as targets and nothing else: it has no lower bound on other numbers") {
  const Mlp network(4, {16}, 3, Parameterization::standard);
  Generator random = seeded(1);
  const Parameters initial = network.draw_initial(random).value();
  const Tensor images = at::randn({2, 4}, random, at::kFloat);
  Silent silent;
  Recipe recipe;
  recipe.loss = LossKind::cross_entropy;
  recipe.max_steps = 3;
  const auto trained_on = [&](const Tensor& row) {
    return train(network, initial, images, row.repeat({2, 1}), recipe, random, silent);
  };
  CHECK_NOTHROW(trained_on(at::tensor({0.7F, 0.2F, 0.1F})));
  CHECK_THROWS_AS(trained_on(at::tensor({0.9F, 0.15F, -0.05F})), UsageError);
  CHECK_THROWS_AS(trained_on(at::tensor({0.9F, 0.9F, 0.0F})), UsageError);
}

TEST_CASE("mini-batches, Adam and weight decay reach the loss") {
  const Mlp network(4, {32}, 1, Parameterization::standard);
  Generator random = seeded(1);
  const Parameters initial = network.draw_initial(random).value();
  const Tensor images = at::randn({6, 4}, random, at::kFloat), targets = targets_in_turn(1, 6);
  Silent silent;
  for (const auto optimizer : {Optimizer::sgd, Optimizer::adam}) {
    Recipe recipe;
    recipe.optimizer = optimizer;
    recipe.batch = 4;
    recipe.learning_rate = 0.01;
    recipe.weight_decay = 1e-4;
    recipe.until_loss = 0.01;
    recipe.max_steps = 20000;
    CHECK(train(network, initial, images, targets, recipe, random, silent).stopped_by == "loss");
  }
}

}  // namespace afterimage
