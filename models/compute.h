// How matrix products are computed on this machine, and how many threads do it.
#pragma once

#include <string>

namespace afterimage {

// Sets the number of threads (0: all cores), and makes each of them flush denormal numbers to zero: a sharp softplus
// gives many of them, and a step then takes up to nine times longer (docs/methods.md, section 1). Returns the number
// of threads.
int set_up_compute(int threads);

// OpenMP's threads spin while they wait, unless the environment says otherwise when the library is loaded. Where
// another program uses a core too, a step then takes up to twenty times longer. So main calls this first: it restarts
// the program once, with the setting in place. Where it cannot, it returns and threads spin.
void restart_without_spinning(char** argv);

// While an object of this class exists, a matrix product runs on the thread that calls it: for code that distributes
// its work over threads itself. MKL does so by itself inside a parallel region; OpenBLAS is set to one thread.
class SerialProducts {
 public:
  SerialProducts();
  ~SerialProducts();
  SerialProducts(const SerialProducts&) = delete;
  SerialProducts& operator=(const SerialProducts&) = delete;

 private:
  int threads_ = 0;  // to restore; 0: nothing was changed
};

// Whether the calling thread flushes denormals.
bool flushes_denormals();

std::string libtorch_version();
// "MKL", "OpenBLAS ..." or "reference BLAS", which is about 30 times slower.
std::string blas_in_use();
bool is_slow_blas();

}  // namespace afterimage
