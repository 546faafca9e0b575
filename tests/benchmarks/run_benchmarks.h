// The main of a benchmark: the same set-up of threads and denormals as the program's own.
#pragma once

#include <benchmark/benchmark.h>

#include "models/compute.h"

namespace afterimage {

// On `threads` threads; 0: all cores.
inline int run_benchmarks(int argc, char** argv, int threads) {
  restart_without_spinning(argv);
  set_up_compute(threads);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace afterimage
