#include "models/compute.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <torch/version.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <thread>

namespace afterimage {
namespace {

struct OpenBlas {
  void (*set_threads)(int) = nullptr;
  int (*threads)() = nullptr;
};

// OpenBLAS's own thread count, where that is the BLAS: LibTorch has no call for it.
const OpenBlas& open_blas() {
  static const OpenBlas found = [] {
    OpenBlas calls;
    calls.threads = reinterpret_cast<int (*)()>(::dlsym(RTLD_DEFAULT, "openblas_get_num_threads"));
    if (calls.threads != nullptr) {
      calls.set_threads = reinterpret_cast<void (*)(int)>(::dlsym(RTLD_DEFAULT, "openblas_set_num_threads"));
    }
    return calls;
  }();
  return found;
}

}  // namespace

int set_up_compute(int threads) {
  const int count = threads > 0 ? threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  at::globalContext().setFlushDenormal(true);  // threads made from here on inherit it
  at::set_num_threads(count);
  at::parallel_for(0, count, 1, [](std::int64_t, std::int64_t) { at::globalContext().setFlushDenormal(true); });
  if (const auto& openblas = open_blas(); openblas.set_threads != nullptr) openblas.set_threads(count);
  return count;
}

SerialProducts::SerialProducts() {
  if (const auto& openblas = open_blas(); openblas.set_threads != nullptr) {
    threads_ = openblas.threads();
    openblas.set_threads(1);
  }
}

SerialProducts::~SerialProducts() {
  if (const auto& openblas = open_blas(); threads_ > 0 && openblas.set_threads != nullptr)
    openblas.set_threads(threads_);
}

void restart_without_spinning(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  ::setenv("OMP_WAIT_POLICY", "passive", 0);
  // About half a millisecond of spinning first: the parallel regions of one attack step follow each other faster than a
  // sleeping thread wakes up.
  ::setenv("GOMP_SPINCOUNT", "20000", 0);
  ::execv("/proc/self/exe", argv);
}

bool flushes_denormals() {
  volatile float smallest = 1.17549435e-38F;
  volatile float half = 0.5F;
  return smallest * half == 0.0F;
}

std::string libtorch_version() { return TORCH_VERSION; }

std::string blas_in_use() {
  if (at::hasMKL()) return "MKL";
  using Config = char* (*)();
  if (const auto config = reinterpret_cast<Config>(::dlsym(RTLD_DEFAULT, "openblas_get_config"))) return config();
  if (at::show_config().find("BLAS_INFO=open") != std::string::npos) return "OpenBLAS";
  return "reference BLAS";
}

bool is_slow_blas() { return blas_in_use() == "reference BLAS"; }

}  // namespace afterimage
