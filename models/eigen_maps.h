// Small dense float64 algebra by Eigen on LibTorch's tensors, without copies.
//
// For decompositions that LibTorch does not have, such as rank-revealing ones, of matrices of up to about a hundred
// rows and columns. Larger ones and float32 stay with LibTorch, whose LAPACK is faster there. Measured on one thread, a
// least squares fit with leverages and smallest singular value, LibTorch and Eigen: 120 x 20, 0.4 and 0.1 ms; 200 x
// 50, 1.5 and 1.3 ms; 300 x 100, 7 and 8 ms; 450 x 200, 27 and 50 ms.
#pragma once

#ifndef EIGEN_DONT_PARALLELIZE
#define EIGEN_DONT_PARALLELIZE  // threads are LibTorch's
#endif
#include <Eigen/QR>
#include <stdexcept>

#include "models/tensor.h"

namespace afterimage {

using EigenMatrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// A contiguous float64 matrix [n, m], seen by Eigen. The tensor has to outlive the map. Throws std::invalid_argument on
// other tensors.
inline Eigen::Map<EigenMatrix> eigen_map(const Tensor& matrix) {
  if (matrix.dim() != 2 || matrix.scalar_type() != at::kDouble || !matrix.is_contiguous()) {
    throw std::invalid_argument("Eigen takes contiguous float64 matrices");
  }
  return {matrix.data_ptr<double>(), matrix.size(0), matrix.size(1)};
}

}  // namespace afterimage
