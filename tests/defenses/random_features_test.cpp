#include "defenses/random_features.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "defenses/feature_ridge.h"
#include "models/foundations/error.h"
#include "models/mlp.h"

namespace afterimage {
namespace {

double number(const Tensor& tensor) { return tensor.item<double>(); }

// Images in a few dimensions with targets that a smooth function gives, and noise.
struct Task {
  Tensor images, targets;
};
Task draw_task(std::int64_t samples, std::int64_t outputs, Generator& random, std::int64_t inputs = 20) {
  const Tensor images = at::randn({samples, inputs}, random, at::kFloat);
  const Tensor mixed = at::mm(images, at::randn({inputs, outputs}, random, at::kFloat));
  return {images, mixed.sin() + 0.1 * at::randn({samples, outputs}, random, at::kFloat)};
}

double mean_squared(const Tensor& difference) {
  return number(difference.square().sum()) / static_cast<double>(difference.size(0));
}

// Eigenvalues of the kernel matrix, none below zero.
Tensor spectrum(const Tensor& kernel) { return at::linalg_eigvalsh(kernel).clamp_min(0); }

// A symmetric matrix with no negative eigenvalue, to a power.
Tensor power(const Tensor& matrix, double exponent) {
  const auto [values, vectors] = at::linalg_eigh(matrix);
  return at::mm(vectors * values.clamp_min(0).pow(exponent), vectors.t());
}

Undefended small_subject(std::uint64_t seed, std::int64_t samples, std::int64_t outputs) {
  Generator random = seeded(seed);
  Undefended undefended;
  const std::int64_t pixels = 36;
  auto network = std::make_shared<Mlp>(pixels, std::vector<std::int64_t>{32}, outputs, Parameterization::standard);
  undefended.initial = network->draw_initial(random).value();
  undefended.network = network;
  undefended.space = {
      {6, 6}, at::rand({pixels}, random, at::kFloat), 0, 1, at::rand({pixels}, random, at::kFloat) + 0.5};
  const Tensor shown = at::rand({samples, pixels}, random, at::kFloat);
  undefended.images = (shown - undefended.space.mean) / undefended.space.scale;
  const Tensor classes = at::randint(outputs == 1 ? 2 : outputs, {samples}, random, at::kLong);
  undefended.targets =
      outputs == 1 ? (classes * 2 - 1).to(at::kFloat).unsqueeze(1) : at::one_hot(classes, outputs).to(at::kFloat);
  undefended.recipe.learning_rate = 0.02;
  undefended.recipe.max_steps = 50;
  return undefended;
}

SupportSet distilled(const Undefended& undefended, const std::map<std::string, std::string>& given,
                     std::uint64_t seed = 7) {
  Generator random = seeded(seed);
  Silent progress;
  NullStore no_store;
  Job job{random, progress, no_store};
  return random_features_defense().configured(given).distill(undefended, job);
}

}  // namespace

TEST_CASE("ridge weights are where the gradient of the mean squared error and ridge is zero, and agree with the dual") {
  Generator random = seeded(1);
  for (const double ridge : {1e-6, 1e-3, 1.0}) {
    for (const std::int64_t samples : {15, 120}) {
      const Task task = draw_task(samples, 3, random);
      const Tensor phi = FourierFeatures(20, 40, 4, random)(task.images);
      const Tensor weights = ridge_weights(phi, task.targets, ridge);
      const Tensor y = task.targets.to(at::kDouble);
      const Tensor slope = at::mm(phi.t(), at::mm(phi, weights) - y) / samples + ridge * weights;
      CHECK(number(slope.norm()) < 1e-12 * number(at::mm(phi.t(), y).norm()));
      Tensor gram = at::mm(phi, phi.t());
      gram.diagonal().add_(ridge * static_cast<double>(samples));
      const Tensor dual = at::mm(phi.t(), at::linalg_solve(gram, y));
      CHECK(number((weights - dual).norm()) < 1e-8 * number(weights.norm()));
    }
  }
}

TEST_CASE("ridge regression on few noise points with solved labels has the weights of that on all images to 1e-8") {
  Generator random = seeded(2);
  double worst = 0;
  for (const std::int64_t features : {2, 10, 60, 120}) {
    for (const double ridge : {1e-8, 1e-4, 1e-2, 1.0}) {
      for (const std::int64_t samples : {20, 300}) {
        for (const std::int64_t outputs : {1, 10}) {
          for (const std::int64_t points : {features, features + 1, 2 * features}) {
            const Task task = draw_task(samples, outputs, random);
            const FourierFeatures phi(20, features, 5, random);
            const Tensor weights = ridge_weights(phi(task.images), task.targets, ridge);
            const Tensor noise = at::randn({points, 20}, random, at::kFloat);
            const SolvedLabels solved = solve_labels(phi(noise), weights, ridge);
            CAPTURE(features, ridge, samples, outputs, points, solved.condition);
            REQUIRE(solved.rank == features);
            CHECK(solved.relative_difference < 1e-8);
            worst = std::max(worst, solved.relative_difference);
            // The same predictor, where neither set has a point.
            const Tensor fresh = phi(at::randn({50, 20}, random, at::kFloat));
            const Tensor gap = at::mm(fresh, solved.weights - weights);
            CHECK(number(gap.norm()) < 1e-8 * number(at::mm(fresh, weights).norm()));
            // Brute force: normal equations with these labels.
            const Tensor of_points = phi(noise);
            Tensor normal = at::mm(of_points.t(), of_points);
            normal.diagonal().add_(ridge * static_cast<double>(points));
            const Tensor again = at::mm(of_points.t(), solved.labels);
            CHECK(number((at::mm(normal, weights) - again).norm()) < 1e-8 * number(again.norm()));
          }
        }
      }
    }
  }
  CHECK(worst > 0);  // so something was compared
}

TEST_CASE("with fewer points than features the labels give the projection of the weights, and no labels do better") {
  Generator random = seeded(3);
  const Task task = draw_task(200, 2, random);
  const FourierFeatures phi(20, 40, 5, random);
  const double ridge = 1e-3;
  const Tensor weights = ridge_weights(phi(task.images), task.targets, ridge);
  for (const std::int64_t count : {5, 39}) {
    const Tensor points = phi(at::randn({count, 20}, random, at::kFloat));
    const SolvedLabels solved = solve_labels(points, weights, ridge);
    const auto [q, r] = at::linalg_qr(points.t());
    const Tensor projection = at::mm(q, at::mm(q.t(), weights));
    const double missed = number((weights - projection).norm()) / number(weights.norm());
    CHECK(solved.rank == count);
    CHECK(missed > 1e-3);
    CHECK(solved.relative_difference == Approx(missed).epsilon(1e-8));
    CHECK(number((solved.weights - projection).norm()) < 1e-8 * number(projection.norm()));
    // What ridge regression returns from other labels is farther off.
    const Tensor other = solved.labels + 0.1 * at::randn(solved.labels.sizes(), random, at::kDouble);
    CHECK(number((ridge_weights(points, other, ridge) - weights).norm()) > number((solved.weights - weights).norm()));
  }
}

TEST_CASE("fewer points than features are exact where the weights lie in their row space") {
  Generator random = seeded(4);
  const Task task = draw_task(12, 1, random);
  const FourierFeatures phi(20, 60, 5, random);
  const Tensor weights = ridge_weights(phi(task.images), task.targets, 1e-3);
  // The weights are a sum of the images' features.
  const Tensor more = at::cat({task.images, at::randn({3, 20}, random, at::kFloat)});
  const SolvedLabels with_all = solve_labels(phi(more), weights, 1e-3);
  CHECK(with_all.rank == 15);
  CHECK(with_all.relative_difference < 1e-10);
  const SolvedLabels without_one = solve_labels(phi(more.narrow(0, 1, 14)), weights, 1e-3);
  CHECK(without_one.relative_difference > 1e-3);
}

TEST_CASE("rank and condition number show duplicated points") {
  Generator random = seeded(5);
  const Task task = draw_task(50, 1, random);
  const FourierFeatures phi(20, 20, 5, random);
  const Tensor weights = ridge_weights(phi(task.images), task.targets, 1e-2);
  Tensor points = at::randn({21, 20}, random, at::kFloat);
  points.narrow(0, 1, 10).copy_(points[0].expand({10, 20}));
  const SolvedLabels solved = solve_labels(phi(points), weights, 1e-2);
  CHECK(solved.rank == 11);
  CHECK(solved.relative_difference > 1e-3);

  // The map from labels to weights has the gains sigma / (sigma^2 + m lambda).
  const Tensor spread = phi(at::randn({25, 20}, random, at::kFloat));
  const SolvedLabels well = solve_labels(spread, weights, 1e-2);
  Tensor normal = at::mm(spread.t(), spread);
  normal.diagonal().add_(25 * 1e-2);
  const Tensor gains = at::linalg_svdvals(at::linalg_solve(normal, spread.t()));
  CHECK(well.condition == Approx(number(gains[0] / gains[19])).epsilon(1e-8));
}

TEST_CASE("the features' kernel tends to the Gaussian kernel as one over the root of their number") {
  Generator random = seeded(6);
  const Tensor points = at::tensor({0.0, 0.0, 0.0, 0.3, 0.4, 0.0, 1.0, -1.0, 2.0}, at::kDouble).reshape({3, 3});
  const double bandwidth = 1.7;
  const Tensor kernel = gaussian_kernel(points, points, bandwidth);
  CHECK(number(kernel[0][1]) == Approx(std::exp(-0.25 / (2 * bandwidth * bandwidth))).epsilon(1e-14));
  CHECK(number(kernel[0][2]) == Approx(std::exp(-6.0 / (2 * bandwidth * bandwidth))).epsilon(1e-14));
  CHECK(number((kernel.diagonal() - 1).abs().max()) == 0);
  for (const std::int64_t features : {4, 32, 256, 2048}) {
    constexpr int draws = 600;
    double squared = 0, sum = 0;
    for (int draw = 0; draw < draws; ++draw) {
      const Tensor phi = FourierFeatures(3, features, bandwidth, random)(points);
      CHECK(number((phi.norm(2, 1) - 1).abs().max()) < 1e-14);
      const double error = number(at::dot(phi[0], phi[2]) - kernel[0][2]);
      squared += error * error / draws;
      sum += error / draws;
    }
    const double expected = (1 - std::pow(number(kernel[0][2]), 2)) / std::sqrt(static_cast<double>(features));
    CAPTURE(features, std::sqrt(squared), expected);
    CHECK(std::sqrt(squared) == Approx(expected).epsilon(0.12));
    CHECK(std::abs(sum) < 4 * expected / std::sqrt(draws));
  }
}

TEST_CASE("effective degrees of freedom are those of the eigenvalues, and of the leverage scores") {
  Generator random = seeded(8);
  for (const double ridge : {1e-9, 1e-4, 1e-1, 1e3}) {
    const Task task = draw_task(60, 1, random);
    const KernelRidge kernel(task.images, task.targets, 4, ridge);
    const Tensor values = spectrum(gaussian_kernel(task.images, task.images, 4));
    const double expected = number((values / (values + 60 * ridge)).sum());
    CAPTURE(ridge, expected);
    CHECK(kernel.degrees_of_freedom() == Approx(expected).epsilon(1e-6));

    const Tensor phi = FourierFeatures(20, 100, 4, random)(task.images);
    const Tensor scores = leverage_scores(phi, ridge);
    const Tensor of_features = spectrum(at::mm(phi, phi.t()));
    CHECK(number(scores.sum()) == Approx(number((of_features / (of_features + 60 * ridge)).sum())).epsilon(1e-6));
    Tensor normal = at::mm(phi.t(), phi);
    normal.diagonal().add_(60 * ridge);
    const double third = number(at::dot(phi[3], at::linalg_solve(normal, phi[3])));
    CHECK(number(scores[3]) == Approx(third).epsilon(1e-5));
  }
}

TEST_CASE("kernel ridge regression has the zero gradient, the least objective and the predictions of its definition") {
  Generator random = seeded(9);
  const Task task = draw_task(40, 2, random);
  const double ridge = 1e-2;
  const KernelRidge kernel(task.images, task.targets, 4, ridge);
  const Tensor gram = gaussian_kernel(task.images, task.images, 4);
  Tensor ridged = gram.clone();
  ridged.diagonal().add_(40 * ridge);
  const Tensor y = task.targets.to(at::kDouble);
  const Tensor a = at::linalg_solve(ridged, y);
  CHECK(number((kernel.fitted() - at::mm(gram, a)).norm()) < 1e-10);
  CHECK(number((kernel.predict(task.images) - kernel.fitted()).norm()) < 1e-10);
  const auto objective = [&](const Tensor& coefficients) {
    const Tensor fitted = at::mm(gram, coefficients);
    return mean_squared(fitted - y) + ridge * number((coefficients * fitted).sum());
  };
  CHECK(kernel.objective() == Approx(objective(a)).epsilon(1e-10));
  for (int trial = 0; trial < 5; ++trial) {
    CHECK(objective(a + 0.01 * at::randn(a.sizes(), random, at::kDouble)) > kernel.objective());
  }
}

TEST_CASE("the bounds on objective and gap hold for every s, lambda and n, and (2) is an equality in its first part") {
  Generator random = seeded(10);
  for (const std::int64_t features : {4, 40, 200}) {
    for (const double ridge : {1e-5, 1e-3, 1e-1}) {
      for (const std::int64_t samples : {30, 150}) {
        for (const std::int64_t outputs : {1, 3}) {
          const Task task = draw_task(samples, outputs, random);
          const FourierFeatures map(20, features, 5, random);
          const Tensor phi = map(task.images);
          const Tensor of_all = ridge_weights(phi, task.targets, ridge);
          // What is bounded is the predictor of the distilled set.
          const Tensor points = map(at::randn({features + 1, 20}, random, at::kFloat));
          const Tensor weights = solve_labels(points, of_all, ridge).weights;
          const KernelRidge kernel(task.images, task.targets, 5, ridge);
          const SpectralApproximation near = kernel.approximation(phi);
          CAPTURE(features, ridge, samples, outputs, near.low, near.high);

          const Tensor gram = gaussian_kernel(task.images, task.images, 5);
          Tensor a = gram.clone(), b = at::mm(phi, phi.t());
          a.diagonal().add_(ridge * static_cast<double>(samples));
          b.diagonal().add_(ridge * static_cast<double>(samples));
          const Tensor values = at::linalg_eigvalsh(at::mm(power(a, -0.5), at::mm(b, power(a, -0.5))));
          CHECK(near.low == Approx(number(values[0])).epsilon(1e-6));
          CHECK(near.high == Approx(number(values[-1])).epsilon(1e-6));

          const Tensor y = task.targets.to(at::kDouble), fitted = at::mm(phi, weights);
          const double objective = mean_squared(fitted - y) + ridge * number(weights.square().sum());
          CHECK(objective == Approx(ridge * number((y * at::linalg_solve(b, y)).sum())).epsilon(1e-6));
          CHECK(objective <= kernel.objective_bound(near) * (1 + 1e-9));
          CHECK(mean_squared(fitted - kernel.fitted()) <= kernel.gap_bound(near) * (1 + 1e-9));
        }
      }
    }
  }
}

TEST_CASE("the bound on the gap is the least in terms of the labels' norm: some labels come within a factor of it") {
  Generator random = seeded(11);
  const Task task = draw_task(30, 1, random);
  const Tensor phi = FourierFeatures(20, 10, 5, random)(task.images);
  // Where the ridge is far above the kernel, 1/sqrt(n lambda) is the norm of A^-1/2.
  const double ridge = 10;
  const KernelRidge any(task.images, task.targets, 5, ridge);
  const SpectralApproximation near = any.approximation(phi);
  const Tensor gram = gaussian_kernel(task.images, task.images, 5);
  Tensor a = gram.clone(), b = at::mm(phi, phi.t());
  a.diagonal().add_(30 * ridge);
  b.diagonal().add_(30 * ridge);
  const Tensor change = at::linalg_inv(b) - at::linalg_inv(a);
  const auto [values, vectors] = at::linalg_eigh(change);
  const Tensor worst = vectors.select(1, number(values[-1]) > -number(values[0]) ? -1 : 0).unsqueeze(1);
  const KernelRidge kernel(task.images, worst, 5, ridge);
  const Tensor weights = ridge_weights(phi, worst, ridge);
  const double gap = mean_squared(at::mm(phi, weights) - kernel.fitted());
  CHECK(gap <= kernel.gap_bound(near));
  CHECK(gap > 0.5 * kernel.gap_bound(near));
}

TEST_CASE("functions of unit norm are within unit_ball of the features, some as far, and unit_ball <= lambda / low") {
  Generator random = seeded(12);
  for (const std::int64_t features : {6, 60}) {
    for (const double ridge : {1e-4, 1e-2}) {
      const Task task = draw_task(40, 1, random);
      const Tensor phi = FourierFeatures(20, features, 5, random)(task.images);
      const KernelRidge kernel(task.images, task.targets, 5, ridge);
      const SpectralApproximation near = kernel.approximation(phi);
      CHECK(near.unit_ball <= ridge / near.low * (1 + 1e-9));
      // f(X) = K^1/2 u runs over the values of functions of norm ||u|| that are least for them.
      const Tensor root = power(gaussian_kernel(task.images, task.images, 5), 0.5);
      const auto distance = [&](const Tensor& u) {
        const Tensor values = at::mm(root, u / u.norm());
        const Tensor beta = ridge_weights(phi, values, ridge);
        return mean_squared(values - at::mm(phi, beta)) + ridge * number(beta.square().sum());
      };
      for (int trial = 0; trial < 20; ++trial) {
        CHECK(distance(at::randn({40, 1}, random, at::kDouble)) <= near.unit_ball * (1 + 1e-9));
      }
      // The farthest: K^1/2 B^-1 K^1/2 is what the distance is a quadratic form of.
      Tensor b = at::mm(phi, phi.t());
      b.diagonal().add_(40 * ridge);
      const auto [values, vectors] = at::linalg_eigh(at::mm(root, at::linalg_solve(b, root)));
      CAPTURE(features, ridge);
      CHECK(distance(vectors.narrow(1, 39, 1)) == Approx(near.unit_ball).epsilon(1e-8));
    }
  }
}

TEST_CASE("the stated number of features suffices for a 1/2-spectral approximation, with 2 lambda for the unit ball") {
  Generator random = seeded(13);
  const double ridge = 0.1, failure = 0.1;
  const Task task = draw_task(80, 1, random);
  const KernelRidge kernel(task.images, task.targets, 5, ridge);
  REQUIRE(number(spectrum(gaussian_kernel(task.images, task.images, 5))[-1]) >= 80 * ridge);
  const double frequencies = sufficient_frequencies(ridge, kernel.degrees_of_freedom(), 0.5, failure);
  const auto features = 2 * static_cast<std::int64_t>(std::ceil(frequencies));
  CAPTURE(features);
  CHECK(features < 2000);
  for (int draw = 0; draw < 10; ++draw) {
    const SpectralApproximation near = kernel.approximation(FourierFeatures(20, features, 5, random)(task.images));
    CHECK(near.low > 0.5);
    CHECK(near.high < 1.5);
    CHECK(near.unit_ball <= 2 * ridge);
  }
  // Few features are not: the check above can fail.
  CHECK(kernel.approximation(FourierFeatures(20, 4, 5, random)(task.images)).high > 1.5);
}

TEST_CASE("the approximation tightens as one over the root of the number of features") {
  Generator random = seeded(14);
  const Task task = draw_task(60, 1, random);
  const KernelRidge kernel(task.images, task.targets, 5, 1e-1);
  const auto mean_deviation = [&](std::int64_t features) {
    double sum = 0;
    for (int draw = 0; draw < 10; ++draw) {
      const SpectralApproximation near = kernel.approximation(FourierFeatures(20, features, 5, random)(task.images));
      sum += std::max(1 - near.low, near.high - 1) / 10;
    }
    return sum;
  };
  CHECK(mean_deviation(1000) / mean_deviation(16000) == Approx(4).epsilon(0.2));
}

TEST_CASE("the median distance is the middle one of all pairs, or of 1000 images") {
  Generator random = seeded(15);
  CHECK(median_distance(at::tensor({0.0F, 1.0F, 4.0F}).unsqueeze(1), random) == 3);
  CHECK(median_distance(at::zeros({1, 3}), random) == 0);
  CHECK(median_distance(at::randn({3000, 200}, random, at::kFloat), random) == Approx(20).epsilon(0.02));
}

TEST_CASE("k-means++ takes different rows, far ones first, and copies of chosen rows last") {
  Generator random = seeded(16);
  // Three far clusters with ten different points each, and fifty copies of one point.
  Tensor images = at::zeros({80, 2}, at::kFloat);
  for (int i = 0; i < 30; ++i) {
    const int cluster = i / 10 + 1;
    images[i][0] = 100.0F * static_cast<float>(cluster);
    images[i][1] = 0.01F * static_cast<float>(i);
  }
  int spread = 0;
  for (int trial = 0; trial < 20; ++trial) {
    const Tensor rows = kmeans_plus_plus(images, 80, random);
    CHECK(at::equal(std::get<0>(rows.sort()), at::arange(80, at::kLong)));
    const Tensor first = images.index_select(0, rows.narrow(0, 0, 4)).select(1, 0);
    spread += static_cast<int>(std::get<0>(at::_unique(first)).numel() == 4);
    const Tensor copies = (rows.narrow(0, 0, 31) >= 30).sum();
    CHECK(copies.item<std::int64_t>() == 1);
  }
  CHECK(spread == 20);
}

TEST_CASE("synthetic images are inside the bounds, are no training images, and do not depend on them at all") {
  const Undefended undefended = small_subject(1, 80, 1), other = small_subject(2, 50, 1);
  Undefended swapped = other;
  swapped.space = undefended.space;
  const std::map<std::string, std::string> given = {{"features", "30"}, {"bandwidth", "3"}, {"spread", "0.4"}};
  const SupportSet support = distilled(undefended, given), of_others = distilled(swapped, given);
  CHECK(support.images.sizes() == at::IntArrayRef({31, 36}));
  CHECK(support.targets.sizes() == at::IntArrayRef({31, 1}));
  CHECK(support.images.scalar_type() == at::kFloat);
  CHECK(support.targets.scalar_type() == at::kFloat);
  CHECK((support.images <= undefended.space.upper()).all().item<bool>());
  CHECK((support.images >= undefended.space.lower()).all().item<bool>());
  const Tensor shown = undefended.space.pixels(support.images);
  CHECK(number(shown.max()) < 1 + 1e-5);
  CHECK(number(shown.min()) > -1e-5);
  CHECK(number((shown > 0.999).to(at::kDouble).mean()) > 0.01);  // clamping has an effect
  CHECK(number(at::cdist(support.images, undefended.images).min()) > 0.5);
  CHECK(at::equal(support.images, of_others.images));
  CHECK_FALSE(at::allclose(support.targets, of_others.targets, 1e-2));
  CHECK(support.evidence["made_from_training_images"] == nlohmann::ordered_json({"labels"}));
}

TEST_CASE("points chosen by k-means++ or leverage are different training images, and the evidence says so") {
  const Undefended undefended = small_subject(3, 60, 4);
  for (const char* points : {"k-means++", "leverage"}) {
    const SupportSet support = distilled(undefended, {{"features", "20"}, {"points", points}});
    const auto [distance, row] = at::cdist(support.images, undefended.images, 2, 2).min(1);
    CHECK(number(distance.max()) == 0);
    CHECK(std::get<0>(at::_unique(row)).numel() == 21);
    CHECK(support.targets.sizes() == at::IntArrayRef({21, 4}));
    CHECK(support.evidence["made_from_training_images"].dump().find("images") != std::string::npos);
    CHECK(support.evidence["notes"].dump().find("nothing but their labels is protected") != std::string::npos);
    CHECK(support.evidence["weights_relative_difference"]["solved"].get<double>() < 1e-8);
  }
}

TEST_CASE("the evidence holds: weights, gaps, bounds and accuracies are those of the set that is returned") {
  const Undefended undefended = small_subject(4, 90, 3);
  const SupportSet support =
      distilled(undefended, {{"features", "40"}, {"ridge", "1e-2"}, {"bandwidth", "2.5"}, {"spread", "0.3"}});
  // The same random draws: noise first, then frequencies.
  Generator random = seeded(7);
  const Tensor noise = noise_images(undefended.space, 0.3, 41, random);
  const FourierFeatures phi(36, 40, 2.5, random);
  REQUIRE(at::equal(noise, support.images));
  const Tensor features = phi(undefended.images);
  const Tensor of_all = ridge_weights(features, undefended.targets, 1e-2);
  const Tensor of_set = ridge_weights(phi(support.images), support.targets, 1e-2);
  const auto& evidence = support.evidence;
  CHECK(evidence["weights_relative_difference"]["solved"].get<double>() < 1e-8);
  CHECK(evidence["weights_relative_difference"]["stored"].get<double>() ==
        Approx(number((of_set - of_all).norm() / of_all.norm())).epsilon(1e-9));
  CHECK(evidence["weights_relative_difference"]["stored"].get<double>() < 1e-4);
  const KernelRidge kernel(undefended.images, undefended.targets, 2.5, 1e-2);
  const Tensor predicted = at::mm(features, of_set);
  CHECK(evidence["degrees_of_freedom"].get<double>() == Approx(kernel.degrees_of_freedom()));
  CHECK(evidence["gap_to_kernel"]["mean_squared"].get<double>() ==
        Approx(mean_squared(predicted - kernel.fitted())).epsilon(1e-9));
  CHECK(evidence["gap_to_kernel"]["mean_squared"] < evidence["gap_to_kernel"]["bound"]);
  CHECK(evidence["objective"]["distilled"] < evidence["objective"]["bound"]);
  CHECK(evidence["gap_to_features"]["mean_squared"].get<double>() < 1e-8);
  CHECK(evidence["train_accuracy"]["distilled"].get<double>() == accuracy(predicted, undefended.targets));
  CHECK(evidence["system"]["rank"] == 40);
  CHECK(evidence["features"] == 40);
  CHECK(evidence["size"] == 41);
}

TEST_CASE("the evidence states when there are fewer points than features") {
  const Undefended undefended = small_subject(5, 40, 1);
  const SupportSet support = distilled(undefended, {{"features", "60"}, {"size", "10"}});
  CHECK(support.images.size(0) == 10);
  CHECK(support.evidence["system"]["rank"] == 10);
  CHECK(support.evidence["weights_relative_difference"]["solved"].get<double>() > 1e-3);
  CHECK(support.evidence["notes"].dump().find("not exact in general") != std::string::npos);
}

TEST_CASE("the same seed gives the same set and another seed another set") {
  const Undefended undefended = small_subject(6, 40, 1);
  for (const char* points : {"synthetic", "k-means++", "leverage"}) {
    const std::map<std::string, std::string> given = {{"features", "10"}, {"points", points}};
    const SupportSet first = distilled(undefended, given), again = distilled(undefended, given);
    CHECK(at::equal(first.images, again.images));
    CHECK(at::equal(first.targets, again.targets));
    CHECK(first.evidence == again.evidence);
    CHECK_FALSE(at::equal(first.images, distilled(undefended, given, 8).images));
  }
}

TEST_CASE("release trains the recipe's network on the set and measures its agreement with the predictor") {
  const Undefended undefended = small_subject(7, 60, 1);
  Generator random = seeded(7);
  Silent progress;
  NullStore no_store;
  Job job{random, progress, no_store};
  const Defense& defense = defense_named("random-features");
  REQUIRE(defense.distills);
  const Release release = defense.configured({{"features", "20"}, {"ridge", "0.1"}}).release(undefended, job);
  CHECK(release.support.images.size(0) == 21);
  CHECK(release.training.steps == 50);
  const Tensor fitted = undefended.network->evaluate(release.training.trained, release.support.images);
  CHECK(release.training.final_loss ==
        Approx(loss_of(LossKind::squared, fitted, release.support.targets)).epsilon(1e-5));
  const Tensor outputs = undefended.network->evaluate(release.training.trained, undefended.images);
  CHECK(release.evidence["network"]["train_accuracy"].get<double>() == accuracy(outputs, undefended.targets));
  // The same random draws as in the defence.
  Generator again = seeded(7);
  static_cast<void>(noise_images(undefended.space, 0.2, 21, again));
  const FourierFeatures phi(36, 20, median_distance(undefended.images, again), again);
  const Tensor weights = ridge_weights(phi(release.support.images), release.support.targets, 0.1);
  const Tensor predicted = at::mm(phi(undefended.images), weights);
  const auto& network = release.evidence["network"];
  CHECK(network["agrees_with_features"].get<double>() == accuracy(outputs, predicted));
  CHECK(network["mean_squared_gap_to_features"].get<double>() == Approx(mean_squared(outputs - predicted)));
}

TEST_CASE("random features refuse invalid options in a line that names them") {
  const auto refusal = [](const std::map<std::string, std::string>& given) -> std::string {
    try {
      random_features_defense().configured(given);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  };
  CHECK(refusal({}).empty());
  CHECK(refusal({{"features", "7"}}) == "--features 7: has to be even, a cosine and a sine for each frequency");
  CHECK(refusal({{"ridge", "0"}}).find("--ridge 0") == 0);
  CHECK(refusal({{"points", "real"}}).find("--points real") == 0);
  CHECK(refusal({{"bandwidth", "-1"}}).find("--bandwidth -1") == 0);

  const Undefended undefended = small_subject(8, 15, 1);
  CHECK_THROWS_WITH(distilled(undefended, {{"features", "20"}, {"points", "leverage"}}),
                    Catch::StartsWith("--points leverage: 21 points are more than the 15 training images"));
  Undefended same = undefended;
  same.images = undefended.images[0].expand({15, 36}).contiguous();
  CHECK_THROWS_WITH(distilled(same, {{"features", "20"}}), Catch::StartsWith("--bandwidth 0: "));
  Undefended logistic = undefended;
  logistic.recipe.loss = LossKind::logistic;
  Generator random = seeded(1);
  Silent progress;
  NullStore no_store;
  Job job{random, progress, no_store};
  CHECK_THROWS_WITH(random_features_defense().configured().release(logistic, job),
                    Catch::StartsWith("--loss logistic: "));
  CHECK_THROWS_AS(FourierFeatures(3, 3, 1, random), std::invalid_argument);
}

}  // namespace afterimage
