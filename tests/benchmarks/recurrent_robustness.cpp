// How accurate recurrent networks of low-rank, sparse connectivity stay on Fashion-MNIST (odd against even, read row by
// row) when what they read changes: Gaussian noise, dropped rows, and every second row alone.
//
//     build/release/benchmark_recurrent_robustness [SEEDS] [SAMPLES] [STEPS] [CELL]...
//
// For each cell, rank and sparsity: trains a network of width 48 with Adam (rate 0.003) on SAMPLES images (1000) for
// STEPS steps (150), SEEDS times (3), and prints means over seeds: the spectral radius of the recurrent matrices before
// and after training (mean over gates), test accuracy on 2000 others, with noise of standard deviation 0.3 on the
// pixels, with a fifth of the rows dropped (the next row comes after twice the time), and with every second row alone
// (twice the time for each). Only cfc is told the time. All cells where none is named. One thread.
#include <fmt/format.h>

#include <algorithm>

#include "models/compute.h"
#include "models/connected_networks.h"
#include "models/data/labelled_images.h"
#include "models/data/sources.h"
#include "models/data/split.h"
#include "models/training.h"

namespace {

using namespace afterimage;

constexpr std::int64_t height = 28, width = 28, hidden = 48;

struct Data {
  Tensor images, targets, test_images, test_targets;
};

Data draw(const LabelledImages& all, std::int64_t samples, std::uint64_t seed) {
  const Task task = Task::parse("odd-even");
  Generator random = seeded(seed);
  const LabelledImages train = all.select(draw_training_rows(all, task, samples, random));
  const LabelledImages test = draw_control(all, task, train.images, 2000, random);
  Data data{train.images.flatten(1), task.targets(train.labels, 1), test.images.flatten(1),
            task.targets(test.labels, 1)};
  const Tensor mean = data.images.mean(0);
  data.images = data.images - mean;
  data.test_images = data.test_images - mean;
  return data;
}

RecurrentNetwork network_of(const std::string& architecture, std::int64_t steps) {
  const auto made = make_connected_network(architecture, {steps, width}, 1);
  return dynamic_cast<const RecurrentNetwork&>(*made);
}

double spectral_radius(const RecurrentNetwork& network, const Parameters& parameters) {
  const Tensor matrices = network.recurrent_matrices(parameters);
  double sum = 0;
  for (std::int64_t gate = 0; gate < matrices.size(0); ++gate) {
    sum += at::linalg_eigvals(matrices[gate]).abs().max().item<double>();
  }
  return sum / static_cast<double>(matrices.size(0));
}

// On the rows `kept` [T] int64 of each test image, at these times since the one before.
double accuracy_on(const std::string& architecture, const Parameters& parameters, const Tensor& images,
                   const Tensor& targets, const Tensor& kept, const std::vector<double>& times) {
  const c10::NoGradGuard no_gradients;
  const RecurrentNetwork network = network_of(architecture, kept.size(0));
  std::vector<Tensor> tensors;
  for (const auto& [name, tensor] : parameters.entries()) tensors.push_back(tensor);
  const Tensor seen = images.view({images.size(0), height, width}).index_select(1, kept).flatten(1);
  return accuracy(network.recorded_at(times)(tensors, seen, {}), targets);
}

struct Figures {
  double before = 0, after = 0, train = 0, clean = 0, noisy = 0, dropped = 0, slower = 0;
  void add(const Figures& other) {
    before += other.before;
    after += other.after;
    train += other.train;
    clean += other.clean;
    noisy += other.noisy;
    dropped += other.dropped;
    slower += other.slower;
  }
};

Figures measured(const std::string& architecture, const Data& data, std::int64_t steps, std::uint64_t seed) {
  Generator random = seeded(seed + 100);
  const RecurrentNetwork network = network_of(architecture, height);
  const Parameters initial = network.draw_initial(random).value();
  Recipe recipe;
  recipe.loss = LossKind::logistic;
  recipe.optimizer = Optimizer::adam;
  recipe.learning_rate = 0.003;
  recipe.max_steps = steps;
  recipe.until_loss = 0;
  Silent silent;
  const Parameters trained = train(network, initial, data.images, data.targets, recipe, random, silent).trained;
  Figures figures;
  figures.before = spectral_radius(network, initial);
  figures.after = spectral_radius(network, trained);
  const Tensor all = at::arange(height, at::kLong);
  const auto on = [&](const Tensor& images, const Tensor& targets, const Tensor& kept,
                      const std::vector<double>& times) {
    return accuracy_on(architecture, trained, images, targets, kept, times);
  };
  const std::vector<double> usual(height, 1);
  figures.train = on(data.images, data.targets, all, usual);
  figures.clean = on(data.test_images, data.test_targets, all, usual);
  const Tensor noise = at::randn(data.test_images.sizes(), random, at::kFloat) * 0.3;
  figures.noisy = on(data.test_images + noise, data.test_targets, all, usual);
  // The same rows for all images: a fifth of those after the first.
  const Tensor order = at::randperm(height - 1, random, at::kLong) + 1;
  const Tensor kept = std::get<0>(at::cat({at::zeros({1}, at::kLong), order.slice(0, height / 5)}).sort());
  std::vector<double> times{1};
  for (std::int64_t i = 1; i < kept.size(0); ++i) times.push_back((kept[i] - kept[i - 1]).item<double>());
  figures.dropped = on(data.test_images, data.test_targets, kept, times);
  figures.slower =
      on(data.test_images, data.test_targets, at::arange(0, height, 2, at::kLong), std::vector<double>(height / 2, 2));
  return figures;
}

}  // namespace

int main(int count, char** values) {
  const std::int64_t seeds = count > 1 ? std::stoll(values[1]) : 3, samples = count > 2 ? std::stoll(values[2]) : 1000,
                     steps = count > 3 ? std::stoll(values[3]) : 150;
  set_up_compute(1);
  const LabelledImages all = load_images("fashion-mnist");
  fmt::print(
      "| cell | rank | zeros | radius before, after | training | test | noise | rows dropped | half the rows |\n");
  std::vector<std::string> cells(values + std::min(count, 4), values + count);
  if (cells.empty()) cells = {"rnn", "lstm", "gru", "cfc"};
  for (const std::string& cell : cells) {
    for (const std::int64_t rank : {2, 8, 48}) {
      for (const double sparsity : {0.0, 0.5, 0.8}) {
        Figures sum;
        for (std::int64_t seed = 0; seed < seeds; ++seed) {
          const std::string architecture =
              fmt::format("{}:{},rank={},sparsity={},mask={}", cell, hidden, rank, sparsity, seed);
          const auto number = static_cast<std::uint64_t>(seed);
          sum.add(measured(architecture, draw(all, samples, number), steps, number));
        }
        const double n = static_cast<double>(seeds), percent = 100 / n;
        fmt::print("| {} | {} | {:.0f} % | {:.2f}, {:.2f} | {:.1f} | {:.1f} | {:.1f} | {:.1f} | {:.1f} |\n", cell, rank,
                   100 * sparsity, sum.before / n, sum.after / n, percent * sum.train, percent * sum.clean,
                   percent * sum.noisy, percent * sum.dropped, percent * sum.slower);
        std::fflush(stdout);
      }
    }
  }
}
