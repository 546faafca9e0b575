// The random-feature distilled sets of Maalouf et al. (arXiv 2305.14113) on Fashion-MNIST: how exact they are, how
// tight the bounds, how well a network learns from the set, and what the set leaks.
//
//     build/release/benchmark_random_features [exactness] [bounds] [networks] [attack]
//
// Without arguments all four tables. One thread; seeds are fixed, so a second run prints the same but for the seconds.
#include "defenses/random_features.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>

#include "defenses/baselines.h"
#include "defenses/feature_ridge.h"
#include "models/compute.h"
#include "models/data/labelled_images.h"
#include "models/data/split.h"
#include "models/mlp.h"

namespace {

using namespace afterimage;

double number(const Tensor& tensor) { return tensor.item<double>(); }
double mean_squared(const Tensor& difference) {
  return number(difference.square().sum()) / static_cast<double>(difference.size(0));
}

// Training images and others, both less the mean of the training images.
struct Data {
  Tensor images, targets, test_images, test_targets, mean;
};

Data draw(const LabelledImages& all, const std::string& task_name, std::int64_t samples, std::uint64_t seed) {
  const Task task = Task::parse(task_name);
  Generator random = seeded(seed);
  const Tensor rows = draw_training_rows(all, task, samples, random);
  const LabelledImages train = all.select(rows);
  const LabelledImages test = draw_control(all, task, train.images, 2000, random);
  const std::int64_t outputs = task.outputs(all.labels);
  Data data;
  data.images = train.images.flatten(1);
  data.mean = data.images.mean(0);
  data.images = data.images - data.mean;
  data.test_images = test.images.flatten(1) - data.mean;
  data.targets = task.targets(train.labels, outputs);
  data.test_targets = task.targets(test.labels, outputs);
  return data;
}

// Weights on all images, and the set with the same.
struct Case {
  double bandwidth;
  Tensor features, weights;
  FourierFeatures map;
};
Case solve(const Data& data, std::int64_t features, double ridge, Generator& random) {
  const double bandwidth = median_distance(data.images, random);
  FourierFeatures map(data.images.size(1), features, bandwidth, random);
  Tensor of_all = map(data.images);
  Tensor weights = ridge_weights(of_all, data.targets, ridge);
  return {bandwidth, std::move(of_all), std::move(weights), std::move(map)};
}

void exactness(const LabelledImages& all) {
  fmt::print("\nExactness: relative difference of the weights, labels as solved and rounded to float32\n");
  fmt::print("{:>10} {:>5} {:>5} {:>7} {:>10} {:>5} {:>5} {:>10} {:>9} {:>10} {:>10}\n", "task", "n", "s", "lambda",
             "points", "|S|", "rank", "condition", "label max", "solved", "float32");
  for (const char* task : {"odd-even", "multiclass"}) {
    for (const std::int64_t samples : {100, 1000}) {
      const Data data = draw(all, task, samples, 1);
      for (const std::int64_t features : {20, 98, 500}) {
        for (const double ridge : {1e-6, 1e-3, 1e-1}) {
          for (const char* kind : {"synthetic", "k-means++"}) {
            const std::int64_t size = features + 1;
            const bool synthetic = kind[0] == 's';
            if (!synthetic && size > samples) continue;
            Generator random = seeded(2);
            const Case made = solve(data, features, ridge, random);
            const Tensor points = synthetic ? noise_images({{28, 28}, data.mean}, 0.2, size, random)
                                            : data.images.index_select(0, kmeans_plus_plus(data.images, size, random));
            const Tensor of_points = made.map(points);
            const SolvedLabels solved = solve_labels(of_points, made.weights, ridge);
            const Tensor stored = ridge_weights(of_points, solved.labels.to(at::kFloat), ridge);
            fmt::print("{:>10} {:>5} {:>5} {:>7.0e} {:>10} {:>5} {:>5} {:>10.1e} {:>9.2g} {:>10.1e} {:>10.1e}\n", task,
                       samples, features, ridge, kind, size, solved.rank, solved.condition,
                       number(solved.labels.abs().max()), solved.relative_difference,
                       number((stored - made.weights).norm() / made.weights.norm()));
          }
        }
      }
    }
  }
}

void bounds(const LabelledImages& all) {
  fmt::print(
      "\nBounds (odd-even, n = 1000, synthetic points): d is d_k^lambda, low and high the spectral approximation,\n"
      "gap the mean squared distance of the set's predictor from kernel ridge regression on the training images\n"
      "and on 2000 others, objective that of the set's predictor on the training images\n");
  fmt::print("{:>7} {:>6} {:>9} {:>6} {:>10} {:>6} {:>6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}\n", "lambda", "d",
             "d log d", "s", "sufficient", "low", "high", "gap", "bound", "gap test", "objective", "bound",
             "of kernel");
  const Data data = draw(all, "odd-even", 1000, 1);
  for (const double ridge : {1e-4, 1e-3, 1e-2, 1e-1}) {
    for (const std::int64_t features : {20, 100, 500, 2000}) {
      Generator random = seeded(3);
      const Case made = solve(data, features, ridge, random);
      const Tensor points = made.map(noise_images({{28, 28}, data.mean}, 0.2, features + 1, random));
      const Tensor weights = solve_labels(points, made.weights, ridge).weights;
      const KernelRidge kernel(data.images, data.targets, made.bandwidth, ridge);
      const SpectralApproximation near = kernel.approximation(made.features);
      const double freedom = kernel.degrees_of_freedom();
      const Tensor fitted = at::mm(made.features, weights);
      const double objective = mean_squared(fitted - data.targets) + ridge * number(weights.square().sum());
      fmt::print(
          "{:>7.0e} {:>6.1f} {:>9.0f} {:>6} {:>10.0f} {:>6.3f} {:>6.2f} {:>9.2e} {:>9.2e} {:>9.2e} {:>9.2e} "
          "{:>9.2e} {:>9.2e}\n",
          ridge, freedom, freedom * std::log(freedom), features,
          2 * std::ceil(sufficient_frequencies(ridge, freedom, 0.5, 0.1)), near.low, near.high,
          mean_squared(fitted - kernel.fitted()), kernel.gap_bound(near),
          mean_squared(at::mm(made.map(data.test_images), weights) - kernel.predict(data.test_images)), objective,
          kernel.objective_bound(near), kernel.objective());
    }
  }
}

void networks(const LabelledImages& all) {
  fmt::print(
      "\nNetworks mlp:512,512, squared loss: accuracy on 2000 others (odd-even, n = 500). \"agrees\" is the share of\n"
      "training images of which network and feature predictor say the same\n");
  fmt::print("{:>16} {:>5} {:>7} {:>6} {:>9} {:>9} {:>9} {:>9} {:>7} {:>8} {:>8}\n", "trained on", "s", "lambda",
             "spread", "|S|", "label max", "predictor", "network", "agrees", "loss", "seconds");
  const Data data = draw(all, "odd-even", 500, 1);
  Undefended undefended;
  auto network = std::make_shared<Mlp>(784, std::vector<std::int64_t>{512, 512}, 1, Parameterization::standard);
  Generator random = seeded(4);
  undefended.initial = network->draw_initial(random).value();
  undefended.network = network;
  undefended.images = data.images;
  undefended.targets = data.targets;
  undefended.space = {{28, 28}, data.mean};
  undefended.recipe.learning_rate = 1e-2;
  undefended.recipe.until_loss = 1e-4;
  undefended.recipe.max_steps = 3000;
  Silent progress;
  NullStore no_store;
  const auto line = [&](const std::string& name, const std::string& s, const std::string& ridge,
                        const std::string& spread, const Release& release, double seconds,
                        const std::string& predictor) {
    const Tensor outputs = network->evaluate(release.training.trained, data.test_images);
    const bool any = release.support.targets.defined();
    fmt::print("{:>16} {:>5} {:>7} {:>6} {:>9} {:>9.2g} {:>9} {:>9.3f} {:>7} {:>8.1e} {:>8.1f}\n", name, s, ridge,
               spread, any ? release.support.images.size(0) : data.images.size(0),
               any ? number(release.support.targets.abs().max()) : 1.0, predictor, accuracy(outputs, data.test_targets),
               release.evidence.contains("network")
                   ? fmt::format("{:.3f}", release.evidence["network"]["agrees_with_features"].get<double>())
                   : "",
               release.training.final_loss, seconds);
  };
  const auto timed = [&](const Defense& defense, const std::map<std::string, std::string>& given, double& seconds) {
    Generator own = seeded(5);
    const auto start = std::chrono::steady_clock::now();
    Job job{own, progress, no_store};
    Release release = defense.configured(given).release(undefended, job);
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return release;
  };
  double seconds = 0;
  Release release = timed(no_defense(), {}, seconds);
  line("all images", "", "", "", release, seconds, "");
  for (const char* count : {"10", "100"}) {
    release = timed(random_subset_defense(), {{"per-class", count}}, seconds);
    line("random subset", "", "", "", release, seconds, "");
  }
  struct Setting {
    const char *points, *features, *ridge, *spread;
  };
  for (const auto& [points, features, ridge, spread] :
       {Setting{"synthetic", "20", "1e-3", "0.2"}, Setting{"synthetic", "200", "1e-1", "0.2"},
        Setting{"synthetic", "200", "1e-2", "0.2"}, Setting{"synthetic", "200", "1e-3", "0.2"},
        Setting{"synthetic", "200", "1e-4", "0.2"}, Setting{"synthetic", "200", "1e-3", "0.05"},
        Setting{"synthetic", "200", "1e-3", "1"}, Setting{"synthetic", "1000", "1e-3", "0.2"},
        Setting{"k-means++", "200", "1e-3", "0.2"}, Setting{"leverage", "200", "1e-3", "0.2"}}) {
    release = timed(random_features_defense(),
                    {{"points", points}, {"features", features}, {"ridge", ridge}, {"spread", spread}}, seconds);
    // The same random draws as in the defence, for the predictor on other images.
    const auto& evidence = release.support.evidence;
    Generator own = seeded(5);
    if (evidence["points"] == "synthetic") {
      static_cast<void>(noise_images(undefended.space, std::stod(spread), release.support.images.size(0), own));
    }
    const FourierFeatures map(784, std::stoll(features), evidence["bandwidth"].get<double>(), own);
    const Tensor weights = ridge_weights(map(release.support.images), release.support.targets, std::stod(ridge));
    const double predictor = accuracy(at::mm(map(data.test_images), weights), data.test_targets);
    line(points, features, ridge, spread, release, seconds, fmt::format("{:.3f}", predictor));
  }
}

// An attacker with the set and the frequencies: the weights are w = sum_i a_i phi(x_i), so minimise
// ||w - sum_j a_j phi(x_j)||^2 over images and coefficients, as for the drift of a trained network (docs/methods.md,
// section 1).
void attack(const LabelledImages& all) {
  constexpr std::int64_t samples = 5;
  constexpr double ridge = 1e-3;
  fmt::print(
      "\nReconstruction from the set alone, frequencies known (odd-even, n = {}, lambda = {:.0e}): training images\n"
      "within relative L2 0.1 and 0.3 of the nearest reconstruction, and as many others\n",
      samples, ridge);
  fmt::print("{:>6} {:>6} {:>9} {:>9} {:>12} {:>12} {:>13} {:>8}\n", "s", "|S|", "equations", "unknowns", "residual",
             "within 0.1", "within 0.3", "seconds");
  const Data data = draw(all, "odd-even", samples, 1);
  const std::int64_t pixels = data.images.size(1);
  for (const std::int64_t features : {200, 1000, 4000, 8000}) {
    const auto start = std::chrono::steady_clock::now();
    Generator random = seeded(6);
    const Case made = solve(data, features, ridge, random);
    Tensor weights = made.weights;  // the set's are the same; to solve for its labels takes minutes where s is large
    if (features <= 1000) {
      const Tensor points = made.map(noise_images({{28, 28}, data.mean}, 0.2, features + 1, random));
      weights = ridge_weights(points, solve_labels(points, made.weights, ridge).labels.to(at::kFloat), ridge);
    }
    const Tensor frequencies = made.map.frequencies();
    Tensor images = at::randn({2 * samples, pixels}, random, at::kDouble).mul_(0.2);
    // Adam on the images, with the best coefficients for them (variable projection).
    Tensor first = at::zeros_like(images), second = at::zeros_like(images), coefficients;
    const double norm = number(weights.square().sum());
    double residual = 1;
    constexpr int steps = 2000;
    for (int step = 1; step <= steps; ++step) {
      const Tensor phi = made.map(images);
      Tensor gram = at::mm(phi, phi.t());
      gram.diagonal().add_(1e-9);
      coefficients = at::linalg_solve(gram, at::mm(phi, weights));
      const Tensor rest = weights - at::mm(phi.t(), coefficients);  // [s, 1]
      residual = number(rest.square().sum()) / norm;
      // d/dx_j of -2 a_j <rest, phi(x_j)>, with phi = sqrt(2/s) [cos, sin] of Omega x.
      const std::int64_t half = features / 2;
      const Tensor turned = phi.narrow(1, 0, half) * rest.narrow(0, half, half).t() -
                            phi.narrow(1, half, half) * rest.narrow(0, 0, half).t();
      const Tensor gradient = at::mm(turned, frequencies).mul_(-2 * coefficients / norm);
      first.mul_(0.9).add_(gradient, 0.1);
      second.mul_(0.999).addcmul_(gradient, gradient, 0.001);
      const double rate = 0.02 * 0.5 * (1 + std::cos(M_PI * step / steps));
      images.sub_(rate * (first / (1 - std::pow(0.9, step))) /
                  (second / (1 - std::pow(0.999, step))).sqrt().add_(1e-12));
      images = at::minimum(at::maximum(images, -data.mean.to(at::kDouble)), 1 - data.mean.to(at::kDouble));
    }
    const auto within = [&](const Tensor& others, double limit) {
      const Tensor real = others.to(at::kDouble);
      const Tensor relative = std::get<0>(at::cdist(real, images).min(1)) / real.norm(2, 1);
      return (relative < limit).sum().item<std::int64_t>();
    };
    const Tensor control = data.test_images.narrow(0, 0, samples);
    fmt::print("{:>6} {:>6} {:>9} {:>9} {:>12.1e} {:>12} {:>13} {:>8.1f}\n", features, features + 1, features,
               samples * (pixels + 1), residual, fmt::format("{} ({})", within(data.images, 0.1), within(control, 0.1)),
               fmt::format("{} ({})", within(data.images, 0.3), within(control, 0.3)),
               std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
}

}  // namespace

int main(int argc, char** argv) {
  restart_without_spinning(argv);
  set_up_compute(1);
  const std::set<std::string> wanted(argv + 1, argv + argc);
  const LabelledImages all = load_images("fashion-mnist");
  const auto chosen = [&](const char* table) { return wanted.empty() || wanted.contains(table); };
  if (chosen("exactness")) exactness(all);
  if (chosen("bounds")) bounds(all);
  if (chosen("networks")) networks(all);
  if (chosen("attack")) attack(all);
}
