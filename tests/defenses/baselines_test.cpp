#include "defenses/baselines.h"

#include <catch2/catch.hpp>

#include "models/foundations/error.h"
#include "models/mlp.h"
#include "tests/defenses/defended.h"

namespace afterimage {
namespace {

Undefended small_task(Generator& random, std::int64_t outputs = 1) {
  Undefended undefended;
  undefended.network = make_network("mlp:24", "standard", 10, outputs);
  undefended.initial = undefended.network->draw_initial(random).value();
  undefended.images = at::randn({12, 10}, random, at::kFloat);
  const Tensor classes = at::arange(12, at::kLong).remainder(outputs == 1 ? 2 : outputs);
  undefended.targets =
      outputs == 1 ? (classes * 2 - 1).to(at::kFloat).unsqueeze(1) : at::one_hot(classes, outputs).to(at::kFloat);
  undefended.space = {{10}, at::zeros({10}), -10, 10};
  undefended.recipe.learning_rate = 0.02;
  undefended.recipe.max_steps = 2000;
  undefended.recipe.until_loss = 1e-5;
  return undefended;
}

}  // namespace

TEST_CASE("the defence none trains exactly as the recipe says, bit for bit") {
  Generator random = seeded(1);
  const Undefended undefended = small_task(random);
  Generator same = seeded(3);
  Silent progress;
  const Training plain = train(*undefended.network, undefended.initial, undefended.images, undefended.targets,
                               undefended.recipe, same, progress);
  const Release released = defended_by("none", undefended);
  for (std::size_t i = 0; i < plain.trained.size(); ++i)
    CHECK(at::equal(released.training.trained[i], plain.trained[i]));
  CHECK_FALSE(released.support.images.defined());
}

TEST_CASE("early stopping ends below its loss and not far below") {
  Generator random = seeded(2);
  const Release released = defended_by("early-stopping", small_task(random), {{"stop-loss", "0.1"}});
  CHECK(released.training.final_loss < 0.1);
  CHECK(released.training.final_loss > 0.05);
}

TEST_CASE("weight decay leaves smaller weights than none") {
  Generator random = seeded(2);
  const Undefended undefended = small_task(random);
  const auto norm = [](const Release& r) { return r.training.trained.squared_norm(); };
  CHECK(norm(defended_by("weight-decay", undefended, {{"decay", "0.05"}})) <
        0.7 * norm(defended_by("none", undefended)));
}

TEST_CASE("noise on released weights has the stated deviation, tensor by tensor") {
  Generator random = seeded(2);
  const Undefended undefended = small_task(random);
  const Release clean = defended_by("none", undefended),
                noisy = defended_by("release-noise", undefended, {{"noise", "2"}});
  for (std::size_t i = 0; i < clean.training.trained.size(); ++i) {
    const Tensor noise = noisy.training.trained[i] - clean.training.trained[i];
    if (noise.numel() < 100) continue;
    const double moved = (clean.training.trained[i] - undefended.initial[i]).square().mean().sqrt().item<double>();
    CHECK(noise.square().mean().sqrt().item<double>() == Approx(2 * moved).epsilon(0.15));
  }
}

TEST_CASE("a random subset is balanced across classes and holds training images with their own targets") {
  Generator random = seeded(2);
  const Undefended undefended = small_task(random, 3);
  const SupportSet support = defended_by("random-subset", undefended, {{"per-class", "2"}}).support;
  REQUIRE(support.images.size(0) == 6);
  for (std::int64_t i = 0; i < 6; ++i) {
    const Tensor same = (undefended.images == support.images[i]).all(1);
    REQUIRE(same.sum().item<std::int64_t>() == 1);
    CHECK(at::equal(undefended.targets.index({same}).squeeze(0), support.targets[i]));
  }
  CHECK(at::equal(classes_of(support.targets).bincount(), at::full({3}, 2, at::kLong)));
}

TEST_CASE("random labels keep the images and the share of each class, and break the pairs") {
  Generator random = seeded(2);
  const Undefended undefended = small_task(random, 3);
  const SupportSet support = defended_by("random-labels", undefended).support;
  CHECK(at::equal(support.images, undefended.images));
  CHECK(at::equal(classes_of(support.targets).bincount(), classes_of(undefended.targets).bincount()));
  CHECK_FALSE(at::equal(support.targets, undefended.targets));
}

TEST_CASE("distill refuses a defence that makes no data, and an unknown one with the list of known ones") {
  for (const Defense& defense : all_defenses()) {
    CAPTURE(defense.name);
    CHECK(static_cast<bool>(defense.configured().distill) == defense.distills);
  }
  CHECK_FALSE(defense_named("weight-decay").distills);
  CHECK_THROWS_WITH(defense_named("magic"), Catch::Contains("kip") && Catch::Contains("early-stopping"));
}

}  // namespace afterimage
