#include "defenses/gvcl.h"

#include <torch/autograd.h>
#include <torch/optim.h>

#include <catch2/catch.hpp>
#include <cmath>

#include "models/calibration.h"
#include "models/foundations/error.h"
#include "tests/defenses/defended.h"
#include "tests/models/finite_differences.h"

namespace afterimage {
namespace {

Parameters map(const Parameters& parameters, const std::function<Tensor(const Tensor&)>& make) {
  std::vector<Parameters::Entry> entries;
  for (const auto& [name, tensor] : parameters.entries()) entries.emplace_back(name, make(tensor));
  return Parameters(std::move(entries));
}

Parameters with(const Parameters& parameters, std::size_t entry, const Tensor& value) {
  auto entries = parameters.entries();
  entries[entry].second = value;
  return Parameters(std::move(entries));
}

// Weights of any size, with variances, and FiLM, in float64.
struct Problem {
  Mlp network;
  Generator random = seeded(3);
  DiagonalGaussian weights;
  Film film;
  Tensor images = at::randn({5, 4}, random, at::kDouble);
  Tensor targets;
  std::vector<Tensor> noise;

  explicit Problem(std::int64_t outputs, Parameterization parameterization = Parameterization::standard)
      : network(4, {6, 3}, outputs, parameterization) {
    weights.mean = network.draw_initial(random).value().to(at::kDouble);
    for (std::size_t i = 1; i < weights.mean.size(); i += 2) weights.mean[i].normal_(0, 0.5, random);
    weights.variance = map(weights.mean, [&](const Tensor& mean) {
      return at::rand(mean.sizes(), random, at::kDouble).add_(0.1).mul_(0.2);
    });
    for (const std::int64_t width : {6, 3}) {
      film.scale.push_back(at::randn({width}, random, at::kDouble));
      film.shift.push_back(at::randn({width}, random, at::kDouble));
    }
    targets = outputs == 1 ? at::tensor({1., -1., 1., 1., -1.}, at::kDouble).unsqueeze(1)
                           : at::one_hot(at::tensor({0, 1, 2, 1, 0}, at::kLong), outputs).to(at::kDouble);
    for (auto& layer : draw_noise(network, 4, 5, random)) noise.push_back(layer.to(at::kDouble));
  }

  LossKind loss() const { return network.outputs() == 1 ? LossKind::logistic : LossKind::cross_entropy; }

  // The mean loss over draws and images, by local reparameterization as its paper has it, layer by layer.
  double sampled_loss(const DiagonalGaussian& some, const Film& filmed) const {
    Tensor h = images.repeat({4, 1});
    for (std::int64_t l = 0; l < 3; ++l) {
      const auto w = static_cast<std::size_t>(2 * l);
      const double s = network.weight_scale(l);
      const Tensor m = s * h.mm(some.mean[w].t()) + some.mean[w + 1];
      const Tensor v = s * s * h.square().mm(some.variance[w].t()) + some.variance[w + 1];
      h = m + v.sqrt() * noise[static_cast<std::size_t>(l)].flatten(0, 1);
      if (l == 2) break;
      // The sign of a scale changes that of the noise, which is as likely.
      const Tensor scale = filmed.scale[static_cast<std::size_t>(l)];
      h = (scale * m + scale.abs() * (h - m) + filmed.shift[static_cast<std::size_t>(l)]).relu();
    }
    return loss_of(loss(), h, targets.repeat({4, 1}));
  }
  FilmGradient gradient() const {
    const SampledGradient folded =
        sampled_pullback(network, film.folded(weights), images, noise, [&](const Tensor& outputs) {
          return cotangents(loss(), outputs, targets.repeat({4, 1})) / static_cast<double>(outputs.size(0));
        });
    return through(film, weights, folded.by_mean, folded.by_variance);
  }
};

bool near(const Tensor& some, const Tensor& other, double relative) {
  return (some - other).norm().item<double>() <= relative * other.norm().item<double>() + 1e-12;
}

Undefended two_blobs(Generator& random, std::int64_t images = 40) {
  Undefended undefended;
  undefended.network = make_network("mlp:16", "standard", 6, 1);
  undefended.initial = undefended.network->draw_initial(random).value();
  const Tensor classes = at::arange(images, at::kLong).remainder(2);
  undefended.images = at::randn({images, 6}, random, at::kFloat);
  undefended.images.select(1, 0).add_((classes * 2 - 1) * 2);
  undefended.targets = (classes * 2 - 1).to(at::kFloat).unsqueeze(1);
  undefended.space = {{6}, at::zeros({6}), -10, 10};
  undefended.recipe.loss = LossKind::logistic;
  return undefended;
}

}  // namespace

TEST_CASE("the sampled loss has the gradient of finite differences by means, variances and FiLM") {
  for (const auto& problem : {Problem(1), Problem(3, Parameterization::ntk)}) {
    const FilmGradient gradient = problem.gradient();
    const auto& [mean, variance] = problem.weights;
    for (std::size_t i = 0; i < mean.size(); ++i) {
      CAPTURE(i);
      CHECK(near(gradient.by_mean[i],
                 differences(mean[i], 1e-6,
                             [&](const Tensor& at) {
                               return problem.sampled_loss({with(mean, i, at), variance}, problem.film);
                             }),
                 1e-6));
      CHECK(near(gradient.by_variance[i],
                 differences(variance[i], 1e-6,
                             [&](const Tensor& at) {
                               return problem.sampled_loss({mean, with(variance, i, at)}, problem.film);
                             }),
                 1e-6));
    }
    for (std::size_t l = 0; l < 2; ++l) {
      Film changed = problem.film;
      CHECK(near(gradient.by_film.scale[l],
                 differences(problem.film.scale[l], 1e-6,
                             [&](const Tensor& at) {
                               changed.scale[l] = at;
                               return problem.sampled_loss(problem.weights, changed);
                             }),
                 1e-6));
      changed = problem.film;
      CHECK(near(gradient.by_film.shift[l],
                 differences(problem.film.shift[l], 1e-6,
                             [&](const Tensor& at) {
                               changed.shift[l] = at;
                               return problem.sampled_loss(problem.weights, changed);
                             }),
                 1e-6));
    }
  }
}

TEST_CASE(
    "the tempered divergence is Kullback and Leibler's for lambda 1, and has the gradient of finite differences") {
  Generator random = seeded(5);
  const auto numbers = [&] { return at::randn({7}, random, at::kDouble); };
  const Tensor mean = numbers(), logarithm = numbers(), mean_before = numbers(), before = numbers() - 3;
  const double prior = 2.5;
  // By numerical integration of q log(q / p), one weight at a time.
  double expected = 0;
  for (std::int64_t i = 0; i < 7; ++i) {
    const double m = mean[i].item<double>(), s = std::exp(logarithm[i].item<double>() / 2);
    const double m0 = mean_before[i].item<double>(), s0 = std::exp(before[i].item<double>() / 2);
    constexpr int points = 40000;
    const double width = 24 * s / points;
    for (int k = 0; k < points; ++k) {
      const double x = m - 12 * s + (k + 0.5) * width, z = (x - m) / s, z0 = (x - m0) / s0;
      const double log_q = -z * z / 2 - std::log(s), log_p = -z0 * z0 / 2 - std::log(s0);
      expected += width * std::exp(log_q) / std::sqrt(2 * M_PI) * (log_q - log_p);
    }
  }
  CHECK(TemperedDivergence(mean_before, before.exp(), 1, prior).value(mean, logarithm.exp()) ==
        Approx(expected).epsilon(1e-8));
  const auto slopes = [&](const TemperedDivergence& divergence) {
    Tensor by_mean = at::zeros_like(mean), by_log_variance = at::zeros_like(mean);
    divergence.add_by_mean(by_mean, mean, 1);
    divergence.add_by_log_variance(by_log_variance, logarithm.exp(), 1);
    return std::pair(by_mean, by_log_variance);
  };
  for (const double lambda : {0.0, 1.0, 100.0}) {
    const TemperedDivergence divergence(mean_before, before.exp(), lambda, prior);
    const auto [by_mean, by_log_variance] = slopes(divergence);
    CHECK(near(by_mean,
               differences(mean, 1e-5, [&](const Tensor& at) { return divergence.value(at, logarithm.exp()); }), 1e-7));
    CHECK(near(by_log_variance,
               differences(logarithm, 1e-5, [&](const Tensor& at) { return divergence.value(mean, at.exp()); }), 1e-7));
  }
  // Without lambda only the prior pulls.
  CHECK(at::allclose(slopes(TemperedDivergence(mean_before, before.exp(), 0, prior)).first,
                     (mean - mean_before) / prior));
}

TEST_CASE(
    "the Gauss-Newton diagonal is that of each image's Jacobian and the loss's curvature, before and after FiLM") {
  for (const auto& problem : {Problem(1), Problem(3, Parameterization::ntk)}) {
    for (const LossKind loss : {problem.loss(), LossKind::squared}) {
      const Parameters folded = problem.film.folded(problem.weights.mean);
      const Parameters diagonal =
          before_film(problem.film, gauss_newton_diagonal(problem.network, folded, problem.images, loss));
      const std::int64_t classes = problem.network.outputs();
      for (std::size_t i = 0; i < diagonal.size(); ++i) {
        Tensor expected = at::zeros_like(diagonal[i]);
        for (std::int64_t j = 0; j < 5; ++j) {
          const Tensor image = problem.images.narrow(0, j, 1);
          const Tensor outputs = problem.network.evaluate(folded, image);
          Tensor curvature = at::eye(classes, at::kDouble);
          if (loss == LossKind::logistic) curvature = (outputs.sigmoid() * (1 - outputs.sigmoid()));
          if (loss == LossKind::cross_entropy) {
            const Tensor p = at::softmax(outputs, 1).squeeze(0);
            curvature = at::diag(p) - at::outer(p, p);
          }
          std::vector<Tensor> rows;  // of the Jacobian by the weights before FiLM
          for (std::int64_t c = 0; c < classes; ++c) {
            const Parameters by_folded = problem.network.pullback(
                folded, image, [&](const Tensor& at) { return at::eye(classes, at.options()).narrow(0, c, 1); });
            rows.push_back(through(problem.film, problem.weights, by_folded, {}).by_mean[i]);
          }
          for (std::int64_t a = 0; a < classes; ++a) {
            for (std::int64_t b = 0; b < classes; ++b) expected += rows[a] * rows[b] * curvature[a][b];
          }
        }
        CHECK(near(diagonal[i], expected, 1e-10));
      }
    }
  }
}

TEST_CASE("as variances shrink, the derivative by them becomes half the Gauss-Newton diagonal: the limit is EWC") {
  // Noise of all signs for every image: 2^3 draws of two hidden neurons and one output.
  const Mlp network(3, {2}, 1, Parameterization::standard);
  Generator random = seeded(9);
  DiagonalGaussian weights;
  weights.mean = network.draw_initial(random).value().to(at::kDouble);
  weights.variance = map(weights.mean, [](const Tensor& mean) { return at::full_like(mean, 1e-8); });
  const Tensor images = at::randn({4, 3}, random, at::kDouble), targets = at::ones({4, 1}, at::kDouble);
  std::vector<Tensor> noise = {at::empty({8, 4, 2}, at::kDouble), at::empty({8, 4, 1}, at::kDouble)};
  for (std::int64_t draw = 0; draw < 8; ++draw) {
    noise[0][draw].select(1, 0).fill_(draw & 1 ? 1 : -1);
    noise[0][draw].select(1, 1).fill_(draw & 2 ? 1 : -1);
    noise[1][draw].fill_(draw & 4 ? 1 : -1);
  }
  const SampledGradient gradient = sampled_pullback(network, weights, images, noise, [&](const Tensor& outputs) {
    return cotangents(LossKind::logistic, outputs, targets.repeat({8, 1})) / 8;
  });
  const Parameters curvature = gauss_newton_diagonal(network, weights.mean, images, LossKind::logistic);
  for (std::size_t i = 0; i < curvature.size(); ++i) CHECK(near(gradient.by_variance[i], curvature[i] / 2, 1e-5));
  // Where the derivative of loss + beta KL by the variance v is zero, 1 / v = curvature / beta + 1 / v', and the pull
  // towards the means of the task before is beta lambda (1 / v - 1 / v_0) + beta / v_0: lambda times the curvature.
  const double beta = 1e-9, lambda = 7, prior = 1;
  const Tensor precision = curvature[0] / beta + 1 / prior, moved = at::ones_like(precision);
  Tensor pull = at::zeros_like(moved);
  TemperedDivergence(at::zeros_like(moved), 1 / precision, lambda, prior).add_by_mean(pull, moved, beta);
  CHECK(near(pull, lambda * curvature[0], 1e-4));
}

TEST_CASE("beta 0 is online EWC: three tasks end where a direct implementation with autograd ends") {
  const Mlp network(5, {8, 4}, 1, Parameterization::standard);
  Generator random = seeded(1);
  const Parameters initial = network.draw_initial(random).value().to(at::kDouble);
  std::vector<Tensor> images, targets;
  for (int task = 0; task < 3; ++task) {
    images.push_back(at::randn({12, 5}, random, at::kDouble));
    targets.push_back((images.back().select(1, task) > 0).to(at::kDouble).mul_(2).sub_(1).unsqueeze(1));
  }
  GvclSettings settings;
  settings.beta = 0;
  settings.lambda = 3;
  settings.steps = 400;
  settings.learning_rate = 1e-2;
  ContinualLearner learner(network, initial, LossKind::logistic, settings);
  Generator drawn = seeded(7);
  Silent progress;
  for (int task = 0; task < 3; ++task) learner.learn(images[task], targets[task], drawn, progress);

  // Directly: outputs, losses and the curvature by autograd.
  Generator again = seeded(7);
  const auto outputs = [](const std::vector<Tensor>& p, const Tensor& x) {
    Tensor h = x;
    for (std::size_t l = 0; l < 3; ++l) {
      h = h.mm(p[2 * l].t()) + p[2 * l + 1];
      if (l < 2) h = h.relu();
    }
    return h;
  };
  std::vector<Tensor> now, anchor, curvature(4);
  for (int task = 0; task < 3; ++task) {
    const Parameters start = task == 0 ? initial : network.draw_initial(again).value().to(at::kDouble);
    std::vector<Tensor> next;
    for (std::size_t i = 0; i < 6; ++i) {
      next.push_back((task == 0 || i > 3 ? start[i] : now[i]).detach().clone().set_requires_grad(true));
    }
    now = next;
    torch::optim::Adam optimizer(now, torch::optim::AdamOptions(1e-2));
    for (int step = 0; step < 400; ++step) {
      Tensor loss = at::softplus(-targets[task] * outputs(now, images[task])).mean();
      if (task > 0) {
        for (std::size_t i = 0; i < 4; ++i)
          loss = loss + 3. / 12 / 2 * (curvature[i] * (now[i] - anchor[i]).square()).sum();
      }
      optimizer.zero_grad();
      loss.backward();
      optimizer.step();
    }
    for (std::int64_t j = 0; j < 12; ++j) {
      const Tensor f = outputs(now, images[task].narrow(0, j, 1));
      const double p = f.sigmoid().item<double>();
      const auto slopes = torch::autograd::grad({f.sum()}, now);
      for (std::size_t i = 0; i < 4; ++i) {
        const Tensor part = slopes[i].square() * (p * (1 - p));
        curvature[i] = curvature[i].defined() ? curvature[i] + part : part;
      }
    }
    anchor.clear();
    for (const auto& tensor : now) anchor.push_back(tensor.detach().clone());
  }
  const Parameters learned = learner.weights(2).mean;
  for (std::size_t i = 0; i < 6; ++i) {
    CAPTURE(i);
    CAPTURE((learned[i] - anchor[i]).norm().item<double>() / anchor[i].norm().item<double>());
    CHECK(near(learned[i], anchor[i], 1e-4));
  }
  // The penalty acts: without it the weights end elsewhere.
  settings.lambda = 0;
  ContinualLearner free(network, initial, LossKind::logistic, settings);
  Generator other = seeded(7);
  for (int task = 0; task < 3; ++task) free.learn(images[task], targets[task], other, progress);
  CHECK_FALSE(near(free.weights(2).mean[0], learned[0], 0.01));
  // So does the part of a sequence that is restored from its state.
  settings.lambda = 3;
  ContinualLearner first(network, initial, LossKind::logistic, settings),
      second(network, initial, LossKind::logistic, settings);
  Generator one = seeded(7);
  for (int task = 0; task < 2; ++task) first.learn(images[task], targets[task], one, progress);
  second.restore(first.state());
  second.learn(images[2], targets[2], one, progress);
  for (std::size_t i = 0; i < 6; ++i) CHECK(at::equal(second.weights(2).mean[i], learned[i]));
}

TEST_CASE(
    "for a linear model with Gaussian noise VCL finds the posterior: ridge means, and precisions of its diagonal") {
  const Mlp network(4, {}, 1, Parameterization::standard);
  Generator random = seeded(2);
  const Tensor images = at::randn({30, 4}, random, at::kFloat);
  const Tensor targets =
      images.mm(at::tensor({1.F, -2.F, 0.5F, 0.F}).unsqueeze(1)) + at::randn({30, 1}, random, at::kFloat);
  GvclSettings settings;
  settings.beta = 1;
  settings.samples = 20;
  settings.steps = 4000;
  settings.learning_rate = 2e-3;
  settings.start_log_variance = -3;
  ContinualLearner learner(network, network.draw_initial(random).value(), LossKind::squared, settings);
  Silent progress;
  learner.learn(images, targets, random, progress);
  const Tensor x = at::cat({images, at::ones({30, 1})}, 1).to(at::kDouble);
  const Tensor gram = x.t().mm(x) + at::eye(5, at::kDouble);
  const Tensor mean = at::linalg_solve(gram, x.t().mm(targets.to(at::kDouble)));
  const DiagonalGaussian weights = learner.weights(0);
  const auto both = [](const Parameters& parameters) {
    return at::cat({parameters[0].flatten(), parameters[1]}).to(at::kDouble);
  };
  CHECK((both(weights.mean) - mean.flatten()).abs().max().item<double>() < 0.03);
  CHECK(((both(weights.variance) * gram.diag()) - 1).abs().max().item<double>() < 0.1);
}

TEST_CASE("the calibration error is the mean gap of confidence and accuracy in bins") {
  // Two of confidence 0.9, one right; two of 0.6, both right.
  const Tensor probabilities = at::tensor({0.9, 0.1, 0.1, 0.9, 0.6, 0.4, 0.4, 0.6}, at::kDouble).reshape({4, 2});
  const Tensor classes = at::tensor({0, 0, 0, 1}, at::kLong);
  CHECK(expected_calibration_error(probabilities, classes) == Approx((2 * 0.4 + 2 * 0.4) / 4));
  CHECK(expected_calibration_error(at::tensor({1., 0.}).reshape({1, 2}), at::tensor({0}, at::kLong)) == Approx(0));
}

TEST_CASE(
    "gvcl releases a mean that has learned, or a sample as far from it as its deviations, and refuses what it cannot "
    "use") {
  Generator random = seeded(4);
  const Undefended undefended = two_blobs(random);
  const std::map<std::string, std::string> few = {{"steps", "1500"}, {"learning-rate", "1e-2"}, {"beta", "1"}};
  const auto accuracy_of = [&](const Release& release) {
    return accuracy(undefended.network->evaluate(release.training.trained, undefended.images), undefended.targets);
  };
  const Release mean = defended_by("gvcl", undefended, few);
  CHECK(accuracy_of(mean) > 0.9);
  auto sampled = few;
  sampled["release"] = "sample";
  const Release sample = defended_by("gvcl", undefended, sampled);
  const double wanted = sample.evidence["standard_deviations"]["fc1.weight"].get<double>();
  const Tensor gap = sample.training.trained[0] - mean.training.trained[0];
  CHECK(wanted > 0.1);  // this prior leaves weights free that the images do not need
  CHECK(gap.square().mean().sqrt().item<double>() == Approx(wanted).epsilon(0.25));
  auto filmed = few;
  filmed["film"] = "yes";
  filmed["beta"] = "0";
  CHECK(accuracy_of(defended_by("gvcl", undefended, filmed)) > 0.9);

  Undefended other = undefended;
  other.network = make_network("linear", "standard", 6, 1);
  CHECK_THROWS_WITH(defended_by("gvcl", other, few), Catch::Contains("use mlp:WIDTH"));
  other = undefended;
  other.recipe.weight_decay = 0.1;
  CHECK_THROWS_WITH(defended_by("gvcl", other, few), Catch::Contains("--weight-decay: gvcl does not use it"));
  CHECK_THROWS_AS(defended_by("gvcl", undefended, {{"beta", "-1"}}), UsageError);
  CHECK_THROWS_WITH(defended_by("gvcl", undefended, {{"steps", "300"}, {"learning-rate", "1000"}, {"beta", "0"}}),
                    Catch::Contains("training diverged"));
}

}  // namespace afterimage
