// How matrix products are computed on this machine, and how many threads do it.
#pragma once

#include <string>

namespace afterimage {

// Sets the number of threads (0: all cores) and flushes denormal numbers to zero in every one of them: a sharp softplus
// fills with them, and a step then takes up to nine times longer (docs/methods.md, section 1). Returns the number of
// threads.
int set_up_compute(int threads);

// OpenMP's threads spin while they wait, unless they were told otherwise before the library was loaded. Where another
// program wants a core that makes a step up to twenty times slower, so a program's main calls this first: it starts
// itself again with the setting in place, once. Where that cannot be done, it returns and threads spin.
void restart_without_spinning(char** argv);

// While one lives, a matrix product runs on the thread that asks for it: for code that shares its work among threads
// itself. Where the BLAS has no threads of its own to turn off, it does so by itself in a parallel region.
class SerialProducts {
 public:
  SerialProducts();
  ~SerialProducts();
  SerialProducts(const SerialProducts&) = delete;
  SerialProducts& operator=(const SerialProducts&) = delete;

 private:
  int threads_ = 0;  // to go back to; 0: nothing was changed
};

// Whether the calling thread flushes denormals.
bool flushes_denormals();

std::string libtorch_version();
// "MKL", "OpenBLAS ..." or "reference BLAS", the last some 30 times slower.
std::string blas_in_use();
bool is_slow_blas();

}  // namespace afterimage
