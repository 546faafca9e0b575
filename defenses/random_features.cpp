#include "defenses/random_features.h"

#include <fmt/format.h>

#include <cmath>

#include "defenses/feature_ridge.h"
#include "models/foundations/error.h"

namespace afterimage {
namespace {

using Json = nlohmann::ordered_json;

// Kernel ridge regression takes n^2 numbers and n^3 operations.
constexpr std::int64_t most_for_kernel = 4000;
// Labels in float32 leave about 1e-7 of relative error times what the condition number makes of it.
constexpr double noticeable = 1e-4;

struct Options {
  std::int64_t features, size;
  double ridge, bandwidth, spread;
  std::string points;
  bool synthetic() const { return points == "synthetic"; }
};

Options read(const OptionValues& values) {
  Options options;
  options.features = values.whole("features", 2, 10000);
  if (options.features % 2 != 0) {
    throw UsageError(
        fmt::format("--features {}: has to be even, a cosine and a sine for each frequency", options.features));
  }
  const std::int64_t size = values.whole("size", 0, 20000);
  options.size = size == 0 ? options.features + 1 : size;
  options.ridge = values.number("ridge", 1e-10, 1e6);
  options.bandwidth = values.number("bandwidth", 0, 1e9);
  options.spread = values.number("spread", 1e-3, 1e3);
  options.points = values.one_of("points", {"synthetic", "k-means++", "leverage"});
  return options;
}

double mean_squared(const Tensor& difference) {
  return difference.square().sum().item<double>() / static_cast<double>(difference.size(0));
}

// `count` rows [count] int64, without replacement, at random in proportion to the ridge leverage scores.
Tensor leverage_rows(const Tensor& features, double ridge, std::int64_t count, Generator& random) {
  return at::multinomial(leverage_scores(features, ridge), count, /*replacement=*/false, random);
}

double bandwidth_for(const Tensor& images, const Options& options, Generator& random) {
  if (options.bandwidth > 0) return options.bandwidth;
  const double median = median_distance(images, random);
  if (median > 0) return median;
  throw UsageError("--bandwidth 0: there is no median distance, as most training images are the same; give a number");
}

struct Distilled {
  SupportSet support;
  Tensor predicted;  // by ridge regression on the set, of the training images: [n, C] float64
};

void add_kernel(Json& evidence, const Undefended& undefended, const Options& options, double bandwidth,
                const Tensor& features, const Tensor& weights, const Tensor& predicted) {
  const KernelRidge kernel(undefended.images, undefended.targets, bandwidth, options.ridge);
  const double freedom = kernel.degrees_of_freedom();
  const SpectralApproximation approximation = kernel.approximation(features);
  const double loss = mean_squared(predicted - undefended.targets);
  evidence["degrees_of_freedom"] = freedom;
  evidence["degrees_of_freedom_times_log"] = freedom * std::log(freedom);
  constexpr double delta = 0.5, failure = 0.1;
  evidence["sufficient_features"] = 2 * std::ceil(sufficient_frequencies(options.ridge, freedom, delta, failure));
  evidence["approximation"] = {
      {"low", approximation.low}, {"high", approximation.high}, {"unit_ball", approximation.unit_ball}};
  evidence["gap_to_kernel"] = {{"mean_squared", mean_squared(predicted - kernel.fitted())},
                               {"bound", kernel.gap_bound(approximation)}};
  evidence["objective"] = {{"distilled", loss + options.ridge * weights.square().sum().item<double>()},
                           {"kernel", kernel.objective()},
                           {"bound", kernel.objective_bound(approximation)}};
  evidence["train_accuracy"]["kernel"] = accuracy(kernel.fitted(), undefended.targets);
}

std::vector<std::string> notes(const Options& options, const SolvedLabels& solved, double stored_difference,
                               std::int64_t images) {
  std::vector<std::string> sentences;
  if (!options.synthetic()) {
    sentences.push_back("the points are training images: nothing but their labels is protected");
  }
  sentences.push_back(
      "the set determines the weights of the feature predictor, a weighted sum of features of the training images: "
      "whoever has the frequencies can attack that sum as trained weights are attacked");
  if (options.size >= images) {
    sentences.push_back(fmt::format("the set is no smaller than the {} training images", images));
  }
  if (solved.rank < options.features) {
    sentences.push_back(fmt::format(
        "not exact in general: the points' features have rank {} of {}, and the set gives the projection of "
        "the weights",
        solved.rank, options.features));
  }
  if (stored_difference > noticeable && stored_difference > 2 * solved.relative_difference) {
    sentences.push_back(fmt::format("ill-conditioned ({:.1e}): labels rounded to float32 move the weights by {:.1e}",
                                    solved.condition, stored_difference));
  }
  return sentences;
}

void require_images(const Options& options, std::int64_t images) {
  if (options.synthetic() || options.size <= images) return;
  throw UsageError(fmt::format(
      "--points {}: {} points are more than the {} training images; fewer --features, a smaller --size or --points "
      "synthetic",
      options.points, options.size, images));
}

Distilled make(const Undefended& undefended, const Options& options, Generator& random, Progress& progress) {
  const Tensor& images = undefended.images;
  require_images(options, images.size(0));
  progress.stage("random-features: solving for labels");
  progress.step(0, 3, "regression on the training images");
  // Noise is drawn before anything that depends on the training images.
  Distilled result;
  if (options.synthetic()) {
    result.support.images = noise_images(undefended.space, options.spread, options.size, random);
  }
  const double bandwidth = bandwidth_for(images, options, random);
  const FourierFeatures phi(images.size(1), options.features, bandwidth, random);
  const Tensor features = phi(images);
  const Tensor weights = ridge_weights(features, undefended.targets, options.ridge);
  if (!options.synthetic()) {
    const Tensor rows = options.points == "leverage" ? leverage_rows(features, options.ridge, options.size, random)
                                                     : kmeans_plus_plus(images, options.size, random);
    result.support.images = images.index_select(0, rows);
  }

  progress.step(1, 3, "labels");
  const Tensor points = phi(result.support.images);
  const SolvedLabels solved = solve_labels(points, weights, options.ridge);
  result.support.targets = solved.labels.to(at::kFloat);
  // The weights of the set as it is stored.
  const Tensor stored = ridge_weights(points, result.support.targets, options.ridge);
  const double norm = weights.norm().item<double>();
  const double stored_difference = (stored - weights).norm().item<double>() / (norm > 0 ? norm : 1);
  result.predicted = at::mm(features, stored);

  progress.step(2, 3, "kernel ridge regression");
  Json& evidence = result.support.evidence;
  evidence["features"] = options.features;
  evidence["size"] = options.size;
  evidence["points"] = options.points;
  evidence["ridge"] = options.ridge;
  evidence["bandwidth"] = bandwidth;
  evidence["made_from_training_images"] = Json::array({"labels"});
  if (options.bandwidth == 0) evidence["made_from_training_images"].push_back("bandwidth");
  if (!options.synthetic()) evidence["made_from_training_images"].push_back("images");
  evidence["system"] = {{"rank", solved.rank},
                        {"condition", solved.condition},
                        {"largest_singular_value", solved.largest},
                        {"smallest_singular_value", solved.smallest},
                        {"largest_label", solved.labels.abs().max().item<double>()}};
  evidence["weights_relative_difference"] = {{"solved", solved.relative_difference}, {"stored", stored_difference}};
  const Tensor of_all = at::mm(features, weights);
  evidence["gap_to_features"] = {{"mean_squared", mean_squared(result.predicted - of_all)}};
  evidence["train_accuracy"] = {{"distilled", accuracy(result.predicted, undefended.targets)},
                                {"features", accuracy(of_all, undefended.targets)}};
  std::vector<std::string> sentences = notes(options, solved, stored_difference, images.size(0));
  if (images.size(0) <= most_for_kernel) {
    add_kernel(evidence, undefended, options, bandwidth, features, stored, result.predicted);
  } else {
    for (const char* name : {"degrees_of_freedom", "degrees_of_freedom_times_log", "sufficient_features",
                             "approximation", "gap_to_kernel", "objective"}) {
      evidence[name] = nullptr;
    }
    evidence["train_accuracy"]["kernel"] = nullptr;
    sentences.push_back(
        fmt::format("no comparison with kernel ridge regression: more than {} training images", most_for_kernel));
  }
  evidence["notes"] = sentences;
  progress.step(3, 3, "done");
  return result;
}

}  // namespace

Tensor kmeans_plus_plus(const Tensor& images, std::int64_t count, Generator& random) {
  const Tensor all = images.to(at::kDouble);
  Tensor free = at::ones({all.size(0)}, at::kDouble);  // 0 where a row is chosen
  Tensor odds = free.clone();
  Tensor nearest;
  std::vector<Tensor> rows;
  while (static_cast<std::int64_t>(rows.size()) < count) {
    const Tensor row = at::multinomial(odds, 1, /*replacement=*/false, random);
    rows.push_back(row);
    free.index_fill_(0, row, 0);
    const Tensor distances = (all - all.index_select(0, row)).square().sum(1);
    nearest = nearest.defined() ? at::minimum(nearest, distances) : distances;
    odds = nearest * free;
    // Only copies of chosen rows are left.
    if (odds.sum().item<double>() <= 0) odds = free;
  }
  return at::cat(rows);
}

Tensor noise_images(const ImageSpace& space, double spread, std::int64_t count, Generator& random) {
  const ImageSpace limits = space.to(at::kFloat);
  const Tensor noise = at::randn({count, limits.dimension()}, random, at::kFloat);
  return limits.over_scale(noise.mul_(spread * (limits.high - limits.low))).clamp_(limits.lower(), limits.upper());
}

namespace {

void check(const Options& options, const Undefended& undefended) {
  require_images(options, undefended.images.size(0));
  if (undefended.recipe.loss == LossKind::squared) return;
  throw UsageError(
      fmt::format("--loss {}: defence \"random-features\" solves for labels that are any real numbers, which takes "
                  "--loss squared",
                  name_of(undefended.recipe.loss)));
}

Release release(const Options& options, const Undefended& undefended, Job& job) {
  check(options, undefended);
  Distilled made = make(undefended, options, job.random, job.progress);
  Release release = trained_on(std::move(made.support), undefended, job);
  // The network was trained towards the feature predictor's outputs at the points: does it agree with it at the images?
  const Tensor outputs = undefended.network->evaluate(release.training.trained, undefended.images);
  release.evidence["network"] = {{"final_loss", release.training.final_loss},
                                 {"train_accuracy", accuracy(outputs, undefended.targets)},
                                 {"agrees_with_features", accuracy(outputs, made.predicted)},
                                 {"mean_squared_gap_to_features", mean_squared(outputs - made.predicted)}};
  return release;
}

}  // namespace

Defense random_features_defense() {
  Defense defense;
  defense.name = "random-features";
  defense.description =
      "trains on noise, with labels that give ridge regression on random features the same weights as the images";
  defense.limits =
      "exact for ridge regression on those features only: a network learns less from the set; and the set gives away "
      "as much as that regression's weights do";
  defense.options = {
      {"features", "random Fourier features, a cosine and a sine for each frequency", "200", "INTEGER"},
      {"ridge", "weight of the squared norm against the mean squared error", "1e-3", "NUMBER"},
      {"bandwidth", "of the Gaussian kernel, in units of the network's input; 0: the images' median distance", "0",
       "NUMBER"},
      {"points", "synthetic (noise), or training images chosen by k-means++ or leverage, which protects only labels",
       "synthetic", "synthetic|k-means++|leverage"},
      {"spread", "standard deviation of synthetic pixels about the mean image, in parts of their range", "0.2",
       "NUMBER"},
      {"size", "points; 0: one more than features. With fewer than features the weights are only approached", "0",
       "INTEGER"}};
  defense.distills = true;
  defense.configure = [](const OptionValues& values) -> ConfiguredDefense {
    const Options options = read(values);
    return {[=](const Undefended& undefended, Job& job) {
              return make(undefended, options, job.random, job.progress).support;
            },
            [=](const Undefended& undefended, Job& job) { return release(options, undefended, job); },
            [=](const Undefended& undefended) { check(options, undefended); }};
  };
  return defense;
}

}  // namespace afterimage
