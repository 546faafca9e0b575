// One step of the tangent attack (loss and both gradients at one point): the closed form against LibTorch's double
// backward, with denormals flushed in both, as a ratio in one run; the same for a quarter of the neurons at a time; and
// the closed form's share of this machine's matrix-product rate.
//
// Arguments: width, images. Two hidden layers, 784 inputs, one output, tangents at the trained end, beta = 200 (where
// denormals would hurt most). Rates count the products that docs/methods.md, section 1 names: 6 width x width x M and 4
// d x width x M.
#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include "attacks/solver/sampled_tangents.h"
#include "models/mlp.h"
#include "models/tangent/autograd.h"
#include "tests/benchmarks/run_benchmarks.h"
#include "tests/models/tangent_reference.h"

namespace {

using namespace afterimage;

constexpr std::int64_t pixels = 784;
constexpr Smoothing relu{200};

struct Problem {
  explicit Problem(std::int64_t width, std::int64_t images_count)
      : network(pixels, {width, width}, 1, Parameterization::standard) {
    Generator random = seeded(1);
    initial = network.draw_initial(random).value();
    trained = initial.clone();
    for (const auto& [name, tensor] : trained.entries()) {
      tensor.add_(at::randn(tensor.sizes(), random, at::kFloat), 1e-3);
    }
    images = at::randn({images_count, pixels}, random, at::kFloat).mul_(0.2);
    coefficients = at::randn({images_count, 1}, random, at::kFloat).div_(static_cast<double>(images_count));
  }
  Mlp network;
  Parameters initial, trained;
  Tensor images, coefficients;
};

double floating_point_operations(double width, double images) {
  return 2 * images * (6 * width * width + 4 * pixels * width);
}

// The most that a step's tensors take at a time, the trained parameters among them, in units of the parameters and of
// what the images, their pixels and hidden units, take once. The initial parameters take one part more while they are
// loaded; a step at the trained end does not read them.
double memory_in_units(const Problem& problem, double width, double images, int ends) {
  const double peak = peak_bytes_of([&] {
    const auto target = problem.network.tangents(problem.initial, problem.trained, {1.0});
    for (int step = 0; step < 2; ++step) target->loss(problem.images, problem.coefficients, relu);
  });
  const auto parameters = static_cast<double>(problem.trained.count());
  const double once = parameters + images * (pixels + 2 * width);
  return (peak / sizeof(float) + ends * parameters) / once;
}

double peak_mebibytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

void closed_form(benchmark::State& state) {
  const Problem problem(state.range(0), state.range(1));
  const auto target = problem.network.tangents(problem.initial, problem.trained, {1.0});
  for (auto _ : state) benchmark::DoNotOptimize(target->loss(problem.images, problem.coefficients, relu).value);
  state.counters["GFLOP/s"] = benchmark::Counter(
      1e-9 * floating_point_operations(static_cast<double>(state.range(0)), static_cast<double>(state.range(1))) *
          static_cast<double>(state.iterations()),
      benchmark::Counter::kIsRate);
  state.counters["peak MiB so far"] = peak_mebibytes();
  for (const auto& [ends, name] : {std::pair{1, "memory in units"}, std::pair{2, "with both ends"}}) {
    state.counters[name] =
        memory_in_units(problem, static_cast<double>(state.range(0)), static_cast<double>(state.range(1)), ends);
  }
}

// A step of a quarter of the neurons, with its share of drawing them.
void sampled(benchmark::State& state) {
  const Problem problem(state.range(0), state.range(1));
  SampledTangents target(problem.network, {problem.trained}, problem.trained.minus(problem.initial), {},
                         state.range(0) / 4, 1);
  std::int64_t step = 0;
  for (auto _ : state) {
    target.begin_step(step++);
    benchmark::DoNotOptimize(target.loss(problem.images, problem.coefficients, relu).value);
  }
}

void double_backward(benchmark::State& state) {
  const Problem problem(state.range(0), state.range(1));
  for (auto _ : state) {
    benchmark::DoNotOptimize(reference::tangent_loss(problem.initial, problem.trained, {1, 1, 1}, {1.0}, problem.images,
                                                     problem.coefficients, relu)
                                 .value);
  }
  state.counters["peak MiB so far"] = peak_mebibytes();
}

// The rate that products of the step's largest size reach by themselves.
void matrix_product(benchmark::State& state) {
  const std::int64_t width = state.range(0), images = state.range(1);
  const Tensor a = at::randn({images, width}), b = at::randn({width, width});
  Tensor c = at::empty({images, width});
  for (auto _ : state) {
    at::mm_out(c, a, b.t());
    benchmark::DoNotOptimize(c.data_ptr());
  }
  state.counters["GFLOP/s"] = benchmark::Counter(
      2e-9 * static_cast<double>(images * width * width * state.iterations()), benchmark::Counter::kIsRate);
}

const std::vector<std::vector<std::int64_t>> sizes = {{512, 1024, 2048}, {40, 200}};
BENCHMARK(closed_form)->ArgsProduct(sizes)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(sampled)->ArgsProduct(sizes)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(matrix_product)->ArgsProduct(sizes)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(double_backward)->ArgsProduct(sizes)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace

int main(int argc, char** argv) { return run_benchmarks(argc, argv, 0); }
