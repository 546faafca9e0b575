// Networks from TorchScript archives that PyTorch wrote (torchscript_fixtures.py), compared with PyTorch's outputs,
// with the closed form of fully connected networks, and with finite differences.
#include "models/scripted_network.h"

#include <catch2/catch.hpp>

#include "models/formats/npz.h"
#include "models/foundations/error.h"
#include "models/mlp.h"
#include "models/tangent/autograd_tangents.h"
#include "models/training.h"

namespace afterimage {
namespace {

const std::string folder = std::string(TEST_DATA) + "/";

ScriptedNetwork conv() { return {folder + "conv-traced.pt", "torchscript:conv", {8, 8}, 2}; }
ScriptedNetwork residual() { return {folder + "residual-scripted.pt", "torchscript:residual", {6, 6, 3}, 1}; }
ScriptedNetwork dense() { return {folder + "dense-scripted.pt", "torchscript:dense", {2, 3}, 2}; }

Parameters moved(const Parameters& from, double by, std::uint64_t seed = 5) {
  Generator random = seeded(seed);
  Parameters to = from.clone();
  for (const auto& [name, tensor] : to.entries()) tensor.add_(at::randn(tensor.sizes(), random, tensor.dtype()), by);
  return to;
}

double relative_error(const Tensor& a, const Tensor& b) {
  return ((a.to(at::kDouble) - b.to(at::kDouble)).norm() / b.to(at::kDouble).norm()).item<double>();
}

constexpr double infinite = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("a traced and a scripted archive give the outputs that PyTorch gives, float64 included") {
  const NamedArrays expected = read_npz(folder + "torchscript-outputs.npz");
  const auto check = [&](const ScriptedNetwork& network, const std::string& name) {
    const Tensor images = to_tensor(*find(expected, name + "_images"));
    const Tensor outputs = to_tensor(*find(expected, name + "_outputs"));
    CHECK(relative_error(network.evaluate(network.archived(), images), outputs) < 1e-5);
    const Tensor wide = network.evaluate(network.archived().to(at::kDouble), images.to(at::kDouble));
    CHECK(wide.scalar_type() == at::kDouble);
    CHECK(relative_error(wide, outputs) < 1e-5);
  };
  check(conv(), "conv");
  check(residual(), "residual");
}

TEST_CASE("in-place operations in an archive do not change the caller's images and parameters") {
  const ScriptedNetwork network = residual();
  const Tensor images = at::rand({3, 108}), before = images.clone();
  const Parameters kept = network.archived().clone();
  network.evaluate(network.archived(), images);
  network.tangents(network.archived(), moved(kept, 0.1), {0.0})->loss(images, at::ones({3, 1}), {50});
  CHECK(images.equal(before));
  CHECK(network.archived().minus(kept).squared_norm() == 0);
}

TEST_CASE("archives that are not a deterministic function of images are refused in one line") {
  const auto refused = [](const std::string& file, std::vector<std::int64_t> shape, std::int64_t outputs) {
    try {
      const ScriptedNetwork network(file, "torchscript:x", std::move(shape), outputs);
    } catch (const InputError& error) {
      const std::string text = error.what();
      CHECK(text.find('\n') == std::string::npos);
      CHECK(text.find(file) == 0);
      return text;
    }
    return std::string();
  };
  CHECK(refused(folder + "dropout-traced.pt", {6}, 2).find("dropout") != std::string::npos);
  CHECK(refused(folder + "dense-scripted.pt", {6}, 3).find("[2, 3]") != std::string::npos);
  CHECK_FALSE(refused(folder + "dense-scripted.pt", {7}, 2).empty());
  CHECK_FALSE(refused(folder + "conv-traced.pt", {8, 8, 3}, 2).empty());
  CHECK_FALSE(refused(folder + "policy.json", {6}, 2).empty());
  CHECK(refused(folder + "nowhere.pt", {6}, 2).find("no such file") != std::string::npos);
}

TEST_CASE("a scripted dense network has the loss, gradients, kernel and held images of the closed form") {
  const ScriptedNetwork scripted = dense();
  const Mlp mlp(6, {5}, 2, Parameterization::standard);
  const double beta = GENERATE(11.0, infinite);
  const auto points = GENERATE(std::vector<double>{1.0}, std::vector<double>{0.0, 0.5, 1.0});
  const bool held = GENERATE(false, true);
  for (const auto dtype : {at::kDouble, at::kFloat}) {
    CAPTURE(beta, points, held, dtype);
    const double tolerance = dtype == at::kDouble ? 1e-10 : 2e-5;
    const Parameters initial = scripted.archived().to(dtype), trained = moved(initial, 0.1);
    Generator random = seeded(9);
    const auto features = 2 * static_cast<std::int64_t>(points.size());
    const Tensor images = at::randn({4, 6}, random, dtype), known = at::randn({2, 6}, random, dtype);
    const Tensor coefficients = at::randn({4, features}, random, dtype);
    const auto ours = scripted.tangents(initial, trained, points), closed = mlp.tangents(initial, trained, points);
    if (held) {
      ours->hold(known);
      closed->hold(known);
    }
    const auto& found = ours->loss(images, coefficients, {beta});
    const auto& expected = closed->loss(images, coefficients, {beta});
    // Held images are projected out by solving with their kernel, which amplifies rounding.
    const double amplified = held && dtype == at::kFloat ? 1e-2 : held ? 1e-8 : tolerance;
    CHECK(found.value == Approx(expected.value).epsilon(amplified));
    CHECK(relative_error(found.by_images, expected.by_images) < amplified);
    CHECK(relative_error(found.by_coefficients, expected.by_coefficients) < amplified);
    CHECK(ours->squared_norm() == Approx(closed->squared_norm()));
    CHECK(relative_error(ours->inner(images, {beta}), closed->inner(images, {beta})) < tolerance);
    CHECK(relative_error(ours->gram(images, {beta}), closed->gram(images, {beta})) < tolerance);
  }
}

TEST_CASE("a scripted dense network has the pullback, pushforward and input gradient of the closed form") {
  const ScriptedNetwork scripted = dense();
  const Mlp mlp(6, {5}, 2, Parameterization::standard);
  const Parameters at = scripted.archived().to(at::kDouble), direction = moved(at, 1).minus(at);
  Generator random = seeded(4);
  const Tensor images = at::randn({5, 6}, random, at::kDouble), cotangents = at::randn({5, 2}, random, at::kDouble);
  const auto wanted = [&](const Tensor&) { return cotangents; };
  const Parameters difference = scripted.pullback(at, images, wanted).minus(mlp.pullback(at, images, wanted));
  CHECK(std::sqrt(difference.squared_norm()) < 1e-12);
  CHECK(relative_error(scripted.pushforward(at, direction, images), mlp.pushforward(at, direction, images)) < 1e-12);
  const auto found = scripted.input_gradient(at, images, cotangents),
             expected = mlp.input_gradient(at, images, cotangents);
  CHECK(relative_error(found.outputs, expected.outputs) < 1e-12);
  CHECK(relative_error(found.gradient, expected.gradient) < 1e-12);
}

TEST_CASE("a convolutional loss falls along its gradients at their rate, through batch normalisation and residuals") {
  const bool grey = GENERATE(true, false);
  const ScriptedNetwork network = grey ? conv() : residual();
  const Parameters initial = network.archived().to(at::kDouble), trained = moved(initial, 0.05);
  const auto target = network.tangents(initial, trained, {0.0, 1.0});
  Generator random = seeded(3);
  const Tensor images = at::rand({3, network.inputs()}, random, at::kDouble);
  const Tensor coefficients = at::randn({3, target->features_per_image()}, random, at::kDouble) * 0.1;
  const Tensor image_way = at::randn(images.sizes(), random, at::kDouble);
  const Tensor coefficient_way = at::randn(coefficients.sizes(), random, at::kDouble);
  const Smoothing relu{20};
  const auto& loss = target->loss(images, coefficients, relu);
  const double by_images = (loss.by_images * image_way).sum().item<double>();
  const double by_coefficients = (loss.by_coefficients * coefficient_way).sum().item<double>();
  constexpr double step = 1e-5;
  const auto at_step = [&](double x, double a) {
    return target->loss(images + x * image_way, coefficients + a * coefficient_way, relu).value;
  };
  CHECK((at_step(step, 0) - at_step(-step, 0)) / (2 * step) == Approx(by_images).epsilon(1e-5));
  CHECK((at_step(0, step) - at_step(0, -step)) / (2 * step) == Approx(by_coefficients).epsilon(1e-5));
}

TEST_CASE("a loss in batches of two images is the loss of all at once") {
  const ScriptedNetwork network = residual();
  const Parameters initial = network.archived().to(at::kDouble), trained = moved(initial, 0.05);
  const auto with = [&](std::int64_t chunk) {
    return AutogradTangents(network.recorded(), network.inputs(), 1, {initial, trained}, trained.minus(initial), chunk);
  };
  AutogradTangents whole = with(0), chunked = with(2);
  Generator random = seeded(3);
  const Tensor images = at::rand({5, 108}, random, at::kDouble), a = at::randn({5, 2}, random, at::kDouble);
  whole.hold(images.narrow(0, 3, 2) * 0.5);
  chunked.hold(images.narrow(0, 3, 2) * 0.5);
  const auto& expected = whole.loss(images, a, {50});
  const auto& found = chunked.loss(images, a, {50});
  CHECK(found.value == Approx(expected.value).epsilon(1e-10));
  CHECK(relative_error(found.by_images, expected.by_images) < 1e-9);
  CHECK(relative_error(found.by_coefficients, expected.by_coefficients) < 1e-9);
}

TEST_CASE("parameters that training did not change have no part in drift or features") {
  const ScriptedNetwork network = conv();
  const Parameters initial = network.archived().to(at::kDouble);
  Parameters trained = initial.clone();
  for (const char* name : {"fc.weight", "fc.bias"}) trained.at(name).add_(at::ones_like(trained.at(name)), 0.01);
  const Parameters drift = trained.minus(initial);
  AutogradTangents target(network.recorded(), 64, 2, {initial}, drift);
  CHECK(target.moving_parameters() == 98);
  Generator random = seeded(3);
  const Tensor images = at::rand({3, 64}, random, at::kDouble), a = at::randn({3, 2}, random, at::kDouble);
  Parameters features = network.pullback(initial, images, [&](const Tensor&) { return a; });
  for (const char* name : {"conv.weight", "conv.bias"}) features.at(name).zero_();
  CHECK(target.loss(images, a, {}).value == Approx(drift.minus(features).squared_norm()).epsilon(1e-12));
}

TEST_CASE("weights are arranged by the module's names, buffers are left out, and unknown names refused") {
  const ScriptedNetwork network = residual();
  std::vector<Parameters::Entry> entries(network.archived().entries().rbegin(), network.archived().entries().rend());
  entries.emplace_back("block.bn1.running_mean", at::zeros({4}));
  const Parameters arranged = network.arranged(Parameters(entries), "file");
  CHECK(arranged.minus(network.archived()).squared_norm() == 0);
  entries.emplace_back("head.weight", at::zeros({4}));
  CHECK_THROWS_WITH(network.arranged(Parameters(entries), "file"), Catch::Contains("head.weight"));
  CHECK_THROWS_WITH(network.arranged(Parameters({entries[0]}), "file"), Catch::Contains("has no tensor"));
  Generator random = seeded(0);
  CHECK_FALSE(network.draw_initial(random));  // an archive has no information on it
}

TEST_CASE("an activation that cannot be smoothed is named, and used unchanged") {
  const ScriptedNetwork network(folder + "relu6-scripted.pt", "torchscript:relu6", {6}, 2);
  CHECK(network.unsmoothed().find("relu6") != std::string::npos);
  CHECK(conv().unsmoothed().empty());
  const Parameters trained = moved(network.archived(), 0.1);
  const Tensor images = at::rand({2, 6}), a = at::ones({2, 2});
  const auto target = network.tangents(network.archived(), trained, {0.0});
  const double hard = target->loss(images, a, {}).value;
  CHECK(target->loss(images, a, {20}).value == hard);
}

TEST_CASE("frozen parameters keep their initial values to the bit, and the others are trained") {
  const bool scripted = GENERATE(true, false);
  std::unique_ptr<Network> network;
  Generator random = seeded(1);
  Parameters initial;
  std::string frozen;
  if (scripted) {
    auto own = std::make_unique<ScriptedNetwork>(conv());
    initial = own->archived();
    network = std::move(own);
    frozen = "conv.";
  } else {
    network = std::make_unique<Mlp>(64, std::vector<std::int64_t>{16}, 2, Parameterization::standard);
    initial = network->draw_initial(random).value();
    frozen = "fc1";
  }
  Recipe recipe;
  recipe.learning_rate = 0.05;
  recipe.weight_decay = 0.01;
  recipe.max_steps = 50;
  recipe.frozen = {frozen};
  const Tensor images = at::rand({6, 64}, random, at::kFloat), targets = at::eye(2).repeat({3, 1});
  Silent progress;
  const Training training = train(*network, initial, images, targets, recipe, random, progress);
  CHECK(training.final_loss < training.curve.front().second);
  for (const auto& [name, tensor] : training.trained.entries()) {
    CAPTURE(name);
    CHECK(tensor.equal(initial.at(name)) == name.starts_with(frozen));
  }
  recipe.frozen = {"layer9"};
  CHECK_THROWS_WITH(train(*network, initial, images, targets, recipe, random, progress), Catch::Contains("layer9"));
  recipe.frozen = {""};
  CHECK_THROWS_AS(train(*network, initial, images, targets, recipe, random, progress), UsageError);
}

}  // namespace afterimage
