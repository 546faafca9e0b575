// Candidates led to vertices of the pixel polytope: by splitting, many at a time, against one linear programme for each
// (Clp), as a ratio in one run on one thread; and how many of the vertices are the images that the candidates were
// near.
//
// Arguments: images N. Random pictures of 784 pixels, two thirds of them black, known exactly; candidates are 60 % off.
#include <benchmark/benchmark.h>

#include "tests/attacks/synthetic_pictures.h"
#include "tests/benchmarks/run_benchmarks.h"

namespace {

using namespace afterimage;

constexpr std::int64_t pixels = 784;
constexpr double off = 0.6, right = 0.1;

struct Problem {
  synthetic::Pictures pictures{false};
  Tensor images, candidates, normals;  // [N, r], in the basis

  explicit Problem(std::int64_t count) {
    Generator random = seeded(1);
    const Tensor all =
        at::rand({count, pixels}, random, at::kDouble).mul(at::rand({count, pixels}, random, at::kDouble) > 2.0 / 3);
    pictures.set(all);
    images = pictures.coordinates();
    candidates = synthetic::noisy(images, off, random);
    // Normals of the bounds that the pictures are at: the directions in which linear programmes reach them.
    const Tensor black = (all == 0).to(at::kDouble);
    normals = at::mm(-black, pictures.span.basis.t());
  }

  double share_right(const std::vector<Vertex>& found) const {
    const Tensor distance = (coordinates_of(found, images.size(1)) - images).norm(2, 1) / images.norm(2, 1);
    return (distance < right).to(at::kDouble).mean().item<double>();
  }
};

template <class Snap>
void measure(benchmark::State& state, const Snap& snap) {
  const Problem problem(state.range(0));
  PixelPolytope polytope(problem.pictures.span, problem.pictures.space);
  Silent silent;
  double found = 0;
  for (auto _ : state) found = problem.share_right(snap(polytope, problem, silent));
  state.counters["a candidate"] = benchmark::Counter(static_cast<double>(problem.images.size(0) * state.iterations()),
                                                     benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  state.counters["right"] = found;
}

void splitting(benchmark::State& state) {
  measure(state, [](PixelPolytope& polytope, const Problem& problem, Progress& progress) {
    return polytope.snap(problem.candidates, progress);
  });
}

void programmes(benchmark::State& state) {
  measure(state, [](PixelPolytope& polytope, const Problem& problem, Progress& progress) {
    return polytope.snap_along(problem.normals, progress);
  });
}

BENCHMARK(splitting)->Arg(20)->Arg(50)->Arg(100)->Arg(200)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(programmes)->Arg(20)->Arg(50)->Arg(100)->Arg(200)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace

int main(int argc, char** argv) { return run_benchmarks(argc, argv, 1); }
