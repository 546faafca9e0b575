// What differential privacy adds to a step of training: the clipped sum of gradients against the plain gradient, and
// drawing the noise, as ratios in one run.
//
// Arguments: width, images. Two hidden layers, 784 inputs, one output, squared loss; the norm is such that some half of
// the images are clipped.
#include <benchmark/benchmark.h>

#include "models/mlp.h"
#include "models/training.h"
#include "tests/benchmarks/run_benchmarks.h"

namespace {

using namespace afterimage;

constexpr std::int64_t pixels = 784;

struct Problem {
  Problem(std::int64_t width, std::int64_t images_count)
      : network(pixels, {width, width}, 1, Parameterization::standard) {
    Generator random = seeded(1);
    parameters = network.draw_initial(random).value();
    images = at::randn({images_count, pixels}, random, at::kFloat).mul_(0.2);
    targets = at::randn({images_count, 1}, random, at::kFloat).sign_();
  }
  Tensor by_outputs(const Tensor& outputs) const { return cotangents(LossKind::squared, outputs, targets); }

  Mlp network;
  Parameters parameters;
  Tensor images, targets;
};

void plain(benchmark::State& state) {
  const Problem problem(state.range(0), state.range(1));
  for (auto _ : state) {
    benchmark::DoNotOptimize(problem.network.pullback(
        problem.parameters, problem.images, [&](const Tensor& outputs) { return problem.by_outputs(outputs); }));
  }
}

void clipped(benchmark::State& state) {
  const Problem problem(state.range(0), state.range(1));
  const std::vector<bool> all(problem.parameters.size(), true);
  for (auto _ : state) {
    benchmark::DoNotOptimize(problem.network.clipped_pullback(
        problem.parameters, problem.images, [&](const Tensor& outputs) { return problem.by_outputs(outputs); }, 5,
        all));
  }
}

void noise(benchmark::State& state) {
  const Problem problem(state.range(0), state.range(1));
  Generator random = seeded(2);
  const Parameters draws = problem.parameters.clone();
  for (auto _ : state) {
    for (const auto& [name, tensor] : draws.entries()) benchmark::DoNotOptimize(tensor.normal_(0, 1, random));
  }
}

const std::vector<std::vector<std::int64_t>> sizes = {{1024}, {100, 500}};
BENCHMARK(plain)->ArgsProduct(sizes)->Unit(benchmark::kMillisecond);
BENCHMARK(clipped)->ArgsProduct(sizes)->Unit(benchmark::kMillisecond);
BENCHMARK(noise)->ArgsProduct(sizes)->Unit(benchmark::kMillisecond);

}  // namespace

int main(int argc, char** argv) { return run_benchmarks(argc, argv, 1); }
