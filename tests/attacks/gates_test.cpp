// What the bias's change and silent neurons say of single images.
#include "attacks/solver/gates.h"

#include <catch2/catch.hpp>

#include "attacks/attack.h"
#include "attacks/scoring/score.h"
#include "models/mlp.h"
#include "tests/attacks/released.h"

namespace afterimage {
namespace {

constexpr std::int64_t pixels = 100, count = 10;

struct Trained {
  Subject subject;
  Tensor training, others;  // inputs
};

// A network of one hidden layer trained on random pictures, (pixels - mean) / scale, odd against even.
Trained trained_on(const Tensor& pictures, const Tensor& mean, double scale, LossKind loss = LossKind::squared) {
  Trained result;
  result.subject.space = {{10, 10}, mean};
  if (scale != 1) result.subject.space.scale = at::full({pixels}, scale);
  const Tensor inputs = result.subject.space.inputs(pictures);
  result.training = inputs.slice(0, 0, count);
  result.others = inputs.slice(0, count);
  result.subject.loss = loss;
  const auto network = std::make_shared<Mlp>(pixels, std::vector<std::int64_t>{1024}, 1, Parameterization::standard);
  Generator random = seeded(3);
  TrainedNetwork& network_released = released(result.subject);
  network_released.network = network;
  network_released.initial = network->draw_initial(random).value();
  Recipe recipe;
  recipe.loss = loss;
  recipe.max_steps = 2000;
  const Tensor targets = (at::arange(count).remainder(2) * 2 - 1).to(at::kFloat).unsqueeze(1);
  Silent silent;
  network_released.trained =
      train(*network, network_released.initial, result.training, targets, recipe, random, silent).trained;
  return result;
}

// Half of the pixels are black; `two_valued`: the rest are white.
Tensor pictures(std::int64_t number, bool two_valued) {
  Generator random = seeded(8);
  const Tensor black = at::rand({number, pixels}, random) < 0.5;
  const Tensor rest = two_valued ? at::ones({number, pixels}) : at::rand({number, pixels}, random);
  return at::where(black, at::zeros({}), rest);
}

Tensor coordinates(const RowSpan& span, const Tensor& images) { return at::mm(images.to(at::kDouble), span.basis.t()); }

}  // namespace

TEST_CASE("the bias's change sets a condition that training images meet and their negatives do not") {
  for (const LossKind loss : {LossKind::squared, LossKind::logistic}) {
    const Trained trained = trained_on(pictures(40, false), at::full({pixels}, 0.5), 0.5, loss);
    const SpanSearch search = row_span_of(released(trained.subject));
    REQUIRE(search.span);
    REQUIRE(search.span->rank == count);
    const BiasCondition bias = bias_condition_of(released(trained.subject), *search.span);
    REQUIRE(bias.holds);
    const Tensor values = at::mv(coordinates(*search.span, trained.training), bias.normal);
    CHECK((values - 1).abs().max().item<double>() < 1e-3);
    const Tensor negatives = at::mv(coordinates(*search.span, -trained.training), bias.normal);
    CHECK(negatives.max().item<double>() < -0.99);
  }
}

TEST_CASE("with the mean of the training images subtracted, the bias counts one image more than the rank") {
  const Tensor all = pictures(40, false);
  const Trained trained = trained_on(all, all.slice(0, 0, count).mean(0), 1);
  const SpanSearch search = row_span_of(released(trained.subject));
  REQUIRE(search.span);
  CHECK(search.span->rank == count - 1);
  CHECK_FALSE(bias_condition_of(released(trained.subject), *search.span).holds);
}

TEST_CASE("training images pass the test of silent neurons, and sums of three and other images do not") {
  const bool own_mean = GENERATE(false, true);
  const Tensor all = pictures(60, false);
  const Trained trained = trained_on(all, own_mean ? all.slice(0, 0, count).mean(0) : at::zeros({pixels}), 1);
  const RowSpan span = row_span_of(released(trained.subject)).span.value();
  const GateTest gates(released(trained.subject), span, bias_condition_of(released(trained.subject), span));
  REQUIRE(gates.applies());
  CHECK(gates.passes(coordinates(span, trained.training)).sum().item<std::int64_t>() >= count - 1);
  const Tensor x = trained.training, sums = x - x.roll({1}, {0}) + x.roll({2}, {0});
  CHECK(gates.passes(coordinates(span, sums)).sum().item<std::int64_t>() == 0);
  CHECK(gates.passes(coordinates(span, -x)).sum().item<std::int64_t>() == 0);
  CHECK(gates.passes(coordinates(span, trained.others)).sum().item<std::int64_t>() <= 2);
}

TEST_CASE("a missing direction tells how much of its training image is in another image") {
  const Trained trained = trained_on(pictures(60, false), at::zeros({pixels}), 1);
  const RowSpan span = row_span_of(released(trained.subject)).span.value();
  const GateTest gates(released(trained.subject), span, bias_condition_of(released(trained.subject), span));
  const Tensor x = coordinates(span, trained.training), directions = gates.missing_directions(x);
  const Tensor passed = directions.norm(2, 1) > 0;
  REQUIRE(passed.sum().item<std::int64_t>() >= count - 1);
  const Tensor own = at::eye(count, at::kDouble) * passed.to(at::kDouble).unsqueeze(1);
  CHECK((gates.parts(directions, x, x) - own).abs().max().item<double>() < 0.02);
  const Tensor mixed = 0.25 * x + 0.75 * x.roll({1}, {0});
  CHECK((gates.parts(directions, x, mixed).diagonal() - 0.25 * own.diagonal()).abs().max().item<double>() < 0.02);
}

TEST_CASE("training images among sums and averages of them prove each other, in weights rounded to bfloat16") {
  const bool own_mean = GENERATE(false, true);
  const Tensor all = pictures(60, false);
  Trained trained = trained_on(all, own_mean ? all.slice(0, 0, count).mean(0) : at::zeros({pixels}), 1);
  const RowSpan exact = row_span_of(released(trained.subject)).span.value();
  for (Parameters* weights : {&released(trained.subject).initial, &released(trained.subject).trained}) {
    *weights = weights->to(at::kBFloat16).to(at::kFloat);
  }
  // The span that the exact weights have, so that nothing but the test itself is looked at.
  const GateTest gates(released(trained.subject), exact, bias_condition_of(released(trained.subject), exact));
  const Tensor x = trained.training, sums = x - x.roll({1}, {0}) + x.roll({2}, {0});
  const Tensor averages = 0.5 * x + 0.5 * x.roll({3}, {0});
  // Sums first, so that the first set tried is wrong.
  const Tensor likely = at::cat({sums.slice(0, 0, 4), x, averages, sums.slice(0, 4)});
  Silent silent;
  const Tensor proven = gates.proven_together(coordinates(exact, likely), silent);
  CHECK(proven.slice(0, 4, 4 + count).sum().item<std::int64_t>() >= count - 1);
  CHECK(proven.sum().item<std::int64_t>() == proven.slice(0, 4, 4 + count).sum().item<std::int64_t>());
  // Where three of them are not there, none that stands in for them is proven.
  const Tensor without = at::cat({sums.slice(0, 0, 4), x.slice(0, 3), averages, sums.slice(0, 4)});
  const Tensor wrongly = gates.proven_together(coordinates(exact, without), silent);
  CHECK(wrongly.sum().item<std::int64_t>() == wrongly.slice(0, 4, 1 + count).sum().item<std::int64_t>());
}

TEST_CASE("a blend of training images is refuted, and one that is a little off is not") {
  const Trained trained = trained_on(pictures(60, false), at::zeros({pixels}), 1);
  const RowSpan span = row_span_of(released(trained.subject)).span.value();
  const GateTest gates(released(trained.subject), span, bias_condition_of(released(trained.subject), span));
  const Tensor x = coordinates(span, trained.training);
  const Tensor blends = (x + x.roll({1}, {0}) + x.roll({2}, {0})) / 3,
               off = x + 0.1 * x.roll({1}, {0}) - 0.1 * x.roll({2}, {0});
  std::int64_t refuted = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    refuted += gates.refutes(blends[i], /*off=*/true) ? 1 : 0;
    CHECK_FALSE(gates.refutes(off[i], /*off=*/true));
  }
  CHECK(refuted >= count - 2);
}

TEST_CASE("vertices confirms no negatives and no sums of training images") {
  // In inputs of -1 to 1 the negative of an image is in the range; of pixels 0 and 1 alone, so are sums.
  const bool two_valued = GENERATE(false, true);
  const Trained trained = two_valued ? trained_on(pictures(60, true), at::zeros({pixels}), 1)
                                     : trained_on(pictures(60, false), at::full({pixels}, 0.5), 0.5);
  Generator random = seeded(1);
  Silent silent;
  NullStore no_store;
  Job job{random, silent, no_store};
  const Reconstruction found = attack_named("vertices").configured().run(trained.subject, {}, job);
  REQUIRE(found.claim.confirmed.defined());
  const Tensor sure = found.claim.images.index_select(0, at::nonzero(found.claim.confirmed).squeeze(1));
  CHECK(sure.size(0) >= count - 2);
  CHECK(sure.size(0) <= count);
  const Tensor nearest = std::get<0>(at::cdist(sure, trained.training).min(1)) / trained.training.norm(2, 1).mean();
  CHECK(nearest.max().item<double>() < 0.05);
}

}  // namespace afterimage
