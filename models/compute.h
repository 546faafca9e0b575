// How matrix products are computed on this machine, and how many threads do it.
#pragma once

#include <string>

namespace afterimage {

// Sets the number of threads (0: all cores) and flushes denormal numbers to zero in every one of them: a sharp softplus fills
// with them, and a step then takes up to nine times longer (METHODS 1). Returns the number of threads.
int set_up_compute(int threads);

// Whether the calling thread flushes denormals.
bool flushes_denormals();

std::string libtorch_version();
// "MKL", "OpenBLAS ..." or "reference BLAS", the last some 30 times slower.
std::string blas_in_use();
bool is_slow_blas();

}  // namespace afterimage
