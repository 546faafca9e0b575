#include "attacks/kkt.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "attacks/scoring/score.h"
#include "attacks/solver/dual_coefficients.h"
#include "attacks/solver/row_span.h"
#include "models/mlp.h"
#include "tests/attacks/recorder.h"
#include "tests/attacks/released.h"
#include "tests/models/finite_differences.h"

namespace afterimage {
namespace {

constexpr std::int64_t pixels = 36;

// Half black, as pictures are.
Tensor pictures(std::int64_t count, Generator& random) {
  return at::rand({count, pixels}, random, at::kFloat).mul_(at::rand({count, pixels}, random, at::kFloat) > 0.5);
}

struct Trained {
  Subject subject;
  Truth truth;
};

// A network that was trained on a few pictures until its loss was very small, without its initial weights.
Trained trained_network(std::int64_t images, std::int64_t outputs, double first_layer_scale) {
  Generator random = seeded(21);
  const auto network =
      std::make_shared<Mlp>(pixels, std::vector<std::int64_t>{128, 128}, outputs, Parameterization::standard);
  const Tensor training = pictures(images, random), mean = training.mean(0);
  const Tensor labels = at::arange(images);
  const Tensor targets = outputs == 1 ? (labels.remainder(2) * 2 - 1).to(at::kFloat).unsqueeze(1)
                                      : at::one_hot(labels.remainder(outputs), outputs).to(at::kFloat);
  const Parameters initial = network->draw_initial(random).value();
  initial.at("fc1.weight").mul_(first_layer_scale);
  Recipe recipe;
  recipe.loss = outputs == 1 ? LossKind::logistic : LossKind::cross_entropy;
  recipe.over_loss = true;
  recipe.until_loss = 1e-6;
  recipe.max_steps = 20000;
  Silent silent;
  Trained result;
  released(result.subject).network = network;
  released(result.subject).trained = train(*network, initial, training - mean, targets, recipe, random, silent).trained;
  result.subject.space = {{6, 6}, mean};
  result.subject.loss = recipe.loss;
  result.truth = {training - mean, pictures(400, random) - mean, result.subject.space};
  return result;
}

Reconstruction attack(const Subject& subject, const std::map<std::string, std::string>& options, StateStore& store) {
  Generator random = seeded(1);
  Silent silent;
  Job job{random, silent, store};
  return kkt_attack().configured(options).run(subject, {}, job);
}

Reconstruction attack(const Subject& subject, const std::map<std::string, std::string>& options = {}) {
  NullStore no_store;
  return attack(subject, options, no_store);
}

Score scored(const Reconstruction& found, const Truth& truth) {
  Generator random = seeded(2);
  return score(found.claim, truth, random);
}

// ||theta - sum_j a_j phi(x_j)||^2 with the gradients of each output by pullback, and the feasibility penalty: the
// objective as the papers write it. Shares no code with the search but the forward pass.
double objective(const Mlp& network, const Parameters& trained, const Tensor& images, const Tensor& labels,
                 const Tensor& lambda, double least, double penalty) {
  const Tensor outputs = network.evaluate(trained, images);
  Tensor weights = at::zeros_like(outputs);
  for (std::int64_t j = 0; j < images.size(0); ++j) {
    const auto y = labels[j].item<std::int64_t>();
    const Tensor multiplier = lambda[j][0];
    if (network.outputs() == 1) {
      weights[j][0] = y == 1 ? multiplier : -multiplier;
      continue;
    }
    std::int64_t other = y == 0 ? 1 : 0;
    for (std::int64_t c = 0; c < network.outputs(); ++c) {
      if (c != y && outputs[j][c].item<double>() > outputs[j][other].item<double>()) other = c;
    }
    weights[j][y] = multiplier;
    weights[j][other] = -multiplier;
  }
  const Parameters rest = trained.minus(network.pullback(trained, images, [&](const Tensor&) { return weights; }));
  double infeasible = 0;
  for (const double value : to_doubles(lambda)) infeasible += std::pow(std::max(least - value, 0.0), 2);
  return rest.squared_norm() + penalty * infeasible;
}

}  // namespace

TEST_CASE("the objective and its gradients by images and multipliers are those of finite differences") {
  const auto depth = GENERATE(1, 2, 3);
  const auto outputs = GENERATE(1, 4);
  CAPTURE(depth, outputs);
  Generator random = seeded(5);
  const Mlp network(8, std::vector<std::int64_t>(depth, 12), outputs, Parameterization::standard);
  const Parameters trained = network.draw_initial(random).value().to(at::kDouble);
  for (const auto& [name, tensor] : trained.entries()) tensor.add_(at::randn(tensor.sizes(), random, at::kDouble), 0.1);
  const Tensor images = at::randn({6, 8}, random, at::kDouble), mean = at::zeros({8}, at::kDouble);
  const Tensor searched = at::rand({6, 1}, random, at::kDouble) - 0.3, labels = shared_labels(6, outputs);
  constexpr double scale = 2.5, least = 0.2, penalty = 0.7;
  const PixelBounds bounds({{8}, mean, -9, 9}, {}, 0);
  DualCoefficients lambda(network, trained, bounds, labels, {scale, least, penalty});
  const auto target = network.tangents_at({trained}, trained);
  Tensor coefficients = at::empty({6, outputs}, at::kDouble), by_searched = at::empty_like(searched);
  lambda.of(images, searched, coefficients);
  const auto& loss = target->loss(images, coefficients, {});
  Tensor by_candidates = at::zeros_like(loss.by_images);
  lambda.pull_back(images, searched, loss.by_coefficients, by_searched, by_candidates);

  // In units of v = lambda / scale the penalty is as given.
  const auto value = [&](const Tensor& x, const Tensor& v) {
    return objective(network, trained, x, labels, v * scale, least * scale, penalty / (scale * scale));
  };
  CHECK(loss.value + lambda.penalty(searched) == Approx(value(images, searched)).epsilon(1e-10));
  constexpr double step = 1e-6;
  const Tensor by_images = differences(images, step, [&](const Tensor& x) { return value(x, searched); });
  const Tensor by_multipliers = differences(searched, step, [&](const Tensor& v) { return value(images, v); });
  // Central differences are off by the step squared and by rounding over the step.
  CHECK(((loss.by_images - by_images).norm() / by_images.norm()).item<double>() < 1e-6);
  CHECK(((by_searched - by_multipliers).norm() / by_multipliers.norm()).item<double>() < 1e-6);
}

TEST_CASE("candidates have an equal share of the labels") {
  for (const std::int64_t outputs : {1, 2, 5}) {
    const Tensor counts = at::bincount(shared_labels(20, outputs));
    CHECK(counts.numel() == std::max<std::int64_t>(outputs, 2));
    CHECK(counts.min().item<std::int64_t>() == counts.max().item<std::int64_t>());
  }
}

// One hidden layer, one image a neuron: with w = t u and the last weight v of the same size, gradients by w, by its
// bias b and by v are in the ratio that the KKT conditions require when w = s x, b = s, |v| = s sqrt(|x|^2 + 1). All of
// a neuron's equations then hold with lambda = 1 / sqrt(|x|^2 + 1), if no other image makes the neuron active.
TEST_CASE("the images of a network that meets the KKT conditions by construction are found") {
  Generator random = seeded(8);
  constexpr std::int64_t count = 2;
  // One of each label; without their mean they are opposite, so each activates its own neuron only.
  const Tensor brightness = 2 * pictures(count, random), mean = brightness.mean(0), images = brightness - mean;
  const auto network = std::make_shared<Mlp>(pixels, std::vector<std::int64_t>{count}, 1, Parameterization::standard);
  const Tensor sizes = (images.square().sum(1) + 1).sqrt();
  const Tensor signs = at::tensor({1.0F, -1.0F});
  Trained planted;
  released(planted.subject).network = network;
  released(planted.subject).trained = Parameters({{"fc1.weight", images.clone()},
                                                  {"fc1.bias", at::ones({count})},
                                                  {"fc2.weight", (signs * sizes).unsqueeze(0)},
                                                  {"fc2.bias", (signs / sizes).sum().unsqueeze(0)}});
  planted.subject.space = {{6, 6}, mean, 0, 2};
  planted.subject.loss = LossKind::logistic;
  Tensor overlap = at::mm(images, images.t()) + 1;
  REQUIRE(overlap.fill_diagonal_(-1).max().item<double>() < 0);  // each neuron is active for its own image only

  const Tensor exact = (signs / sizes).unsqueeze(1);
  const Parameters rest = released(planted.subject)
                              .trained.minus(network->pullback(released(planted.subject).trained, images,
                                                               [&](const Tensor&) { return exact; }));
  CHECK(rest.squared_norm() < 1e-10);

  // One candidate for each: of several that share a neuron, only the mean is determined.
  const Reconstruction found = attack(planted.subject, {{"space", "pixels"}, {"candidates", "2"}, {"steps", "3000"}});
  CHECK(found.status == Status::ok);
  CHECK(found.evidence["first_layer_unexplained"].get<double>() < 0.01);
  CHECK(*found.relative_loss < 0.01);
  const Tensor nearest = std::get<0>(at::cdist(images, found.claim.images).min(1)) / images.norm(2, 1);
  CHECK(nearest.max().item<double>() < 0.1);
}

TEST_CASE("images and multipliers whose gradients make up a planted element are recovered") {
  const auto outputs = GENERATE(1, 3);
  Generator random = seeded(12);
  constexpr std::int64_t count = 6;
  const Mlp network(pixels, {256, 256}, outputs, Parameterization::standard);
  const Parameters point = network.draw_initial(random).value();
  const Tensor pictured = pictures(count, random), mean = pictured.mean(0), images = pictured - mean;
  const PixelBounds truth_bounds({{6, 6}, mean}, {}, 0);
  DualCoefficients planted(network, point, truth_bounds, shared_labels(count, outputs), {1, 0, 0});
  const Tensor multipliers = at::rand({count, 1}, random, at::kFloat) * 0.5 + 0.5;
  Tensor coefficients = at::empty({count, outputs}, at::kFloat);
  planted.of(images, multipliers, coefficients);
  const Parameters element = network.pullback(point, images, [&](const Tensor&) { return coefficients; });
  const auto target = network.tangents_at({point}, element);

  SearchPlan plan;
  plan.candidates = 2 * count;
  plan.steps = 2000;
  plan.initial_coefficient = 1;
  PixelBounds bounds({{6, 6}, mean}, {}, 0.1 * target->squared_norm());
  DualCoefficients lambda(network, point, bounds, shared_labels(plan.candidates, outputs),
                          {static_cast<double>(count), 0, target->squared_norm()});
  Silent silent;
  NullStore no_store;
  Job job{random, silent, no_store};
  const SearchResult found = search(*target, bounds, pixels, plan, lambda, job);
  CHECK(found.loss_final < 0.02 * target->squared_norm());
  const Tensor nearest = std::get<0>(at::cdist(images, found.candidates).min(1)) / images.norm(2, 1);
  CAPTURE(outputs, nearest);
  CHECK(nearest.max().item<double>() < 0.3);
  const Tensor others = pictures(200, random) - mean;
  CHECK((std::get<0>(at::cdist(others, found.candidates).min(1)) / others.norm(2, 1)).min().item<double>() > 0.5);
}

TEST_CASE("training images are reconstructed without the initial weights, with one output and with several") {
  const auto outputs = GENERATE(1, 3);
  const Trained trained = trained_network(6, outputs, 1e-4);
  const Reconstruction found = attack(trained.subject);
  CAPTURE(outputs, found.evidence.dump());
  CHECK(found.status == Status::ok);
  CHECK(found.evidence["space"] == "span");
  const Score result = scored(found, trained.truth);
  CHECK(result.reconstructed->count >= 5);
  CHECK(result.control->rate <= 0.02);
  CHECK(*result.confirmed >= 5);
  CHECK(result.confirmed_right == result.confirmed);
}

TEST_CASE("the row space of a first layer that began small is that of the training images") {
  const Trained trained = trained_network(6, 1, 1e-4);
  const auto search = find_row_span(released(trained.subject).trained.at("fc1.weight"));
  REQUIRE(search.span);
  CHECK(search.span->rank == 5);  // 6 images less their own mean
  CHECK(distance_to_span(*search.span, trained.truth.training).max().item<double>() < 0.02);
  CHECK(distance_to_span(*search.span, trained.truth.control).min().item<double>() > 0.5);
}

TEST_CASE("where initial weights outweigh training, the attack says so if they are known, else searches in pixels") {
  Trained trained = trained_network(4, 1, 1);
  released(trained.subject).initial =
      released(trained.subject).trained.times(0.9);  // so that training hardly changed it
  const Reconstruction known = attack(trained.subject);
  CHECK(known.status == Status::not_applicable);
  CHECK(known.reason.find("training began with are") != std::string::npos);
  CHECK(known.iterations == 0);
  released(trained.subject).initial = {};
  CHECK(attack(trained.subject, {{"candidates", "8"}, {"steps", "20"}}).evidence["space"] == "pixels");
  const Reconstruction refused = attack(trained.subject, {{"space", "span"}});
  CHECK(refused.status == Status::not_applicable);
  CHECK(refused.reason.find("--space span") != std::string::npos);
}

TEST_CASE("nothing is found in a network that was not trained, and the attack is inconclusive") {
  Trained trained = trained_network(6, 1, 1e-4);
  Generator random = seeded(33);
  released(trained.subject).trained = released(trained.subject).network->draw_initial(random).value();
  const Reconstruction found = attack(trained.subject, {{"candidates", "12"}, {"steps", "300"}});
  CHECK(found.status == Status::inconclusive);
  CHECK(found.evidence["first_layer_unexplained"].get<double>() > 0.5);
  CHECK(scored(found, trained.truth).reconstructed->count == 0);
}

TEST_CASE("the kkt attack does not apply to the squared loss, and tries an unknown one with a remark") {
  Trained trained = trained_network(4, 1, 1e-4);
  trained.subject.loss = LossKind::squared;
  const Reconstruction refused = attack(trained.subject);
  CHECK(refused.status == Status::not_applicable);
  CHECK(refused.iterations == 0);
  trained.subject.loss.reset();
  const Reconstruction tried = attack(trained.subject);
  CHECK(tried.iterations > 0);
  CHECK(tried.evidence["loss"].get<std::string>().find("not known") != std::string::npos);
}

TEST_CASE("a search for a KKT point that is interrupted at any step resumes to the same result") {
  const Trained trained = trained_network(6, 1, 1e-4);
  for (const std::map<std::string, std::string>& options :
       {std::map<std::string, std::string>{{"steps", "30"}, {"rounds", "3"}},
        {{"steps", "20"}, {"space", "pixels"}, {"candidates", "12"}, {"restarts", "2"}}}) {
    Recorder recorder;
    const Reconstruction whole = attack(trained.subject, options, recorder);
    REQUIRE(recorder.states.size() > 20);
    for (std::size_t i = 1; i < recorder.states.size(); i += recorder.states.size() / 5) {
      Recorder from(recorder.states[i]);
      const Reconstruction resumed = attack(trained.subject, options, from);
      CAPTURE(i);
      CHECK(at::equal(resumed.claim.images, whole.claim.images));
      CHECK(resumed.iterations == whole.iterations);
      CHECK(resumed.loss_initial == whole.loss_initial);
      CHECK(resumed.evidence == whole.evidence);
    }
  }
}

TEST_CASE("an invalid option of the kkt attack is refused by name") {
  const Attack kkt = kkt_attack();
  for (const char* name : {"space", "candidates", "steps", "rounds", "image-rate", "lambda-rate", "lambda-min"}) {
    CAPTURE(name);
    CHECK_THROWS_WITH(kkt.configured({{name, "-1"}}), Catch::Contains(std::string("--") + name));
  }
}

}  // namespace afterimage
