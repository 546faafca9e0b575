#include "defenses/kip.h"

#include <catch2/catch.hpp>

#include "attacks/solver/regression_coefficients.h"
#include "defenses/distillation.h"
#include "models/foundations/error.h"
#include "models/mlp.h"
#include "models/tangent/kernel_targets.h"
#include "models/tangent/learned_function.h"
#include "tests/models/finite_differences.h"

namespace afterimage {
namespace {

const AnalyticNtk kernel = AnalyticNtk::uniform(2, 2, 0.1);
constexpr double step = 1e-6;  // of finite differences

struct Setting {
  Tensor training, targets, alpha;  // [N, d], [N, C], [N, C] float64
  Tensor support, labels;           // [M, d], [M, C]
};

Setting setting(std::int64_t outputs, Generator& random) {
  Setting s;
  s.training = at::randn({15, 6}, random, at::kDouble);
  s.targets = at::randn({15, outputs}, random, at::kDouble);
  s.alpha = at::linalg_solve(kernel(s.training, s.training), s.targets);
  s.support = at::randn({4, 6}, random, at::kDouble);
  s.labels = at::randn({4, outputs}, random, at::kDouble);
  return s;
}

double total(const Tensor& tensor) { return tensor.sum().item<double>(); }

bool close(const Tensor& a, const Tensor& b, double tolerance) { return at::allclose(a, b, tolerance, tolerance); }

// The loss of `target`, its gradients and its projection, against `value(support, coefficients)` written out.
template <class Value>
void check_loss(TangentTarget& target, const Setting& s, const Value& value) {
  const auto& loss = target.loss(s.support, s.labels, {});
  CHECK(loss.value == Approx(value(s.support, s.labels)).epsilon(1e-10));
  CHECK(close(loss.by_images, differences(s.support, step, [&](const Tensor& x) { return value(x, s.labels); }), 1e-5));
  CHECK(close(loss.by_coefficients, differences(s.labels, step, [&](const Tensor& a) { return value(s.support, a); }),
              1e-5));
  const Projection best = project(target, s.support, {}, 0);
  CHECK(best.relative_residual * target.squared_norm() == Approx(value(s.support, best.coefficients)).epsilon(1e-8));
}

Undefended synthetic_task(Generator& random) {
  Undefended undefended;
  undefended.network = make_network("mlp:32,32", "standard", 16, 1);
  undefended.initial = undefended.network->draw_initial(random).value();
  const Tensor pixels = at::rand({40, 16}, random, at::kFloat);
  const Tensor mean = pixels.mean(0);
  undefended.images = pixels - mean;
  undefended.targets = at::where(undefended.images.narrow(1, 0, 8).sum(1, true) > 0, at::ones({1}), -at::ones({1}));
  undefended.space = {{4, 4}, mean};
  return undefended;
}

SupportSet distil(const Defense& defense, const Undefended& undefended, std::map<std::string, std::string> given) {
  given.emplace("per-class", "3");
  given.emplace("distillation-steps", "200");
  Generator random = seeded(5);
  Silent progress;
  NullStore store;
  Job job{random, progress, store};
  return defense.configured(given).distill(undefended, job);
}

}  // namespace

TEST_CASE("RKIP's loss is the quadratic form of the kernels, and its gradients are those of finite differences") {
  Generator random = seeded(1);
  for (const std::int64_t outputs : {1, 3}) {
    const Setting s = setting(outputs, random);
    KernelElement target(kernel, s.training, s.alpha);
    const auto value = [&](const Tensor& support, const Tensor& a) {
      return total(s.alpha * at::mm(kernel(s.training, s.training), s.alpha)) -
             2 * total(s.alpha * at::mm(kernel(s.training, support), a)) +
             total(a * at::mm(kernel(support, support), a));
    };
    check_loss(target, s, value);
  }
}

TEST_CASE("the attack's loss on a trained network's change and RKIP's with its kernel agree to 1e-6") {
  Generator random = seeded(2);
  const auto network = make_network("mlp:20,20", "standard", 6, 1);
  const Parameters start = network->draw_initial(random).value().to(at::kDouble);
  const Setting s = setting(1, random);
  const auto features = network->tangents(start, start, {0.0});
  const Tensor all = at::cat({s.training, s.support});
  const Tensor gram = features->gram(all, {});
  const Tensor within = gram.narrow(0, 0, 15), k_tt = within.narrow(1, 0, 15), k_ts = within.narrow(1, 15, 4);
  const Tensor k_ss = gram.narrow(0, 15, 4).narrow(1, 15, 4);
  const Tensor alpha = at::linalg_solve(k_tt, s.targets), a = at::linalg_solve(k_ss, s.labels);
  // The change that gradient flow makes of the linearized network: sum_t alpha_t phi(x_t).
  const Parameters change = network->pullback(start, s.training, [&](const Tensor&) { return alpha; });
  const auto attacked = network->tangents_at({start}, change);
  const double rkip =
      total(alpha * at::mm(k_tt, alpha)) - 2 * total(alpha * at::mm(k_ts, a)) + total(a * at::mm(k_ss, a));
  CHECK(attacked->loss(s.support, a, {}).value == Approx(rkip).epsilon(1e-6));
}

TEST_CASE("KIP's loss is the mean squared error of its predictions, twice over, with gradients of finite differences") {
  Generator random = seeded(3);
  for (const std::int64_t outputs : {1, 3}) {
    const Setting s = setting(outputs, random);
    KernelPredictions target(kernel, s.training, s.targets);
    const auto value = [&](const Tensor& support, const Tensor& a) {
      return total((s.targets - at::mm(kernel(s.training, support), a)).square()) / 15;
    };
    check_loss(target, s, value);
  }
}

TEST_CASE("RKIP's loss bounds KIP's by the largest eigenvalue of the training kernel, and there are cases near it") {
  Generator random = seeded(4);
  double tightest = 0;
  for (int round = 0; round < 200; ++round) {
    const Setting s = setting(1, random);
    KernelElement reconstruction(kernel, s.training, s.alpha);
    KernelPredictions predictions(kernel, s.training, s.targets);
    const double largest = at::linalg_eigvalsh(kernel(s.training, s.training)).max().item<double>();
    const double bound = largest / 15 * reconstruction.loss(s.support, s.labels, {}).value;
    const double kip = predictions.loss(s.support, s.labels, {}).value;
    REQUIRE(kip <= bound * (1 + 1e-9));
    tightest = std::max(tightest, kip / bound);
  }
  CHECK(tightest > 0.5);
}

TEST_CASE("coefficients of kernel regression give gradients by images and labels like finite differences") {
  Generator random = seeded(6);
  const double ridge = GENERATE(1e-8, 0.1);
  const Setting s = setting(2, random);
  KernelElement target(kernel, s.training, s.alpha);
  const auto value = [&](const Tensor& support, const Tensor& labels) {
    Tensor k = kernel(support, support);
    k.diagonal().add_(ridge * k.diagonal().mean());
    return target.loss(support, at::linalg_solve(k, labels), {}).value;
  };
  RegressionCoefficients regression(kernel, s.labels, ridge, true);
  Tensor a = at::empty_like(s.labels), by_labels = at::empty_like(s.labels);
  regression.of(s.support, s.labels, a);
  const auto& loss = target.loss(s.support, a, {});
  Tensor by_images = loss.by_images.clone();
  regression.pull_back(s.support, s.labels, loss.by_coefficients.clone(), by_labels, by_images);
  CHECK(close(by_images, differences(s.support, step, [&](const Tensor& x) { return value(x, s.labels); }), 1e-5));
  CHECK(close(by_labels, differences(s.labels, step, [&](const Tensor& y) { return value(s.support, y); }), 1e-5));
}

TEST_CASE("distilled images predict the training set, lie inside the pixel range, and are fewer than were trained on") {
  Generator random = seeded(7);
  const Undefended undefended = synthetic_task(random);
  for (const auto* name : {"kip", "rkip", "rkip-finite"}) {
    CAPTURE(name);
    const SupportSet support = distil(defense_named(name), undefended, {});
    CHECK(support.images.sizes() == at::IntArrayRef({6, 16}));
    CHECK(support.targets.sizes() == at::IntArrayRef({6, 1}));
    CHECK((support.images >= undefended.space.lower()).all().item<bool>());
    CHECK((support.images <= undefended.space.upper()).all().item<bool>());
    CHECK(support.evidence["loss_final"].get<double>() < 0.5 * support.evidence["loss_initial"].get<double>());
  }
  const SupportSet kip = distil(kip_defense(), undefended, {});
  CHECK(kip.evidence["kernel_train_accuracy"].get<double>() > 0.9);
  CHECK_THROWS_AS(distil(kip_defense(), undefended, {{"per-class", "20"}}), UsageError);
  CHECK_THROWS_AS(distil(kip_defense(), undefended, {{"labels", "random"}}), UsageError);
}

TEST_CASE("a share of pixels is never learned, and images keep their distance from training images") {
  Generator random = seeded(8);
  const Undefended undefended = synthetic_task(random);
  const SupportSet free = distil(kip_defense(), undefended, {{"distillation-steps", "1"}});
  const SupportSet one = distil(kip_defense(), undefended, {{"corruption", "0.5"}, {"distillation-steps", "1"}});
  const SupportSet many = distil(kip_defense(), undefended, {{"corruption", "0.5"}});
  const Tensor kept = (one.images == many.images).to(at::kDouble).mean();
  CHECK(kept.item<double>() > 0.3);  // 0.5 of 96 pixels, give or take, and some at the same bound
  CHECK(kept.item<double>() < 0.8);
  const double wanted = 1.2, norm = undefended.images.norm(2, 1).mean().item<double>();
  const auto smallest = [&](const SupportSet& support) {
    return at::cdist(support.images, undefended.images).min().item<double>() / norm;
  };
  CHECK(smallest(distil(kip_defense(), undefended, {})) < wanted);
  CHECK(smallest(distil(kip_defense(), undefended, {{"distance", "1.2"}})) > 0.95 * wanted);
  CHECK(smallest(free) < wanted);  // because of the option, not of the start
}

TEST_CASE("fixed labels stay those of the classes and learned labels do not") {
  Generator random = seeded(9);
  const Undefended undefended = synthetic_task(random);
  const Tensor fixed = distil(kip_defense(), undefended, {{"labels", "fixed"}}).targets;
  CHECK(at::equal(fixed, at::tensor({-1.0F, -1.0F, -1.0F, 1.0F, 1.0F, 1.0F}).unsqueeze(1)));
  CHECK_FALSE(at::allclose(distil(kip_defense(), undefended, {}).targets, fixed));
}

}  // namespace afterimage
