// Small dense float64 algebra by Eigen, on LibTorch's tensors without copies.
//
// For systems of a few hundred equations, where LibTorch's calls cost more than the arithmetic. Larger ones, float32,
// QR and singular values stay with LibTorch, whose LAPACK is faster there. Measured on one thread, milliseconds of
// LibTorch with OpenBLAS and of Eigen:
//
//   n                                          20             50             100            200            500
//   Cholesky, and as many right-hand sides     0.02, 0.004    0.06, 0.05     0.31, 0.28     1.8, 1.8       35, 26
//   generalised eigenvalues                    0.06, 0.02     0.19, 0.13     0.71, 0.64     7.6, 7.8       39, 50
//   QR of 1.5 n to 6 n rows, its leverages     0.05, 0.04     0.26, 0.40     1.4, 3.4       8.9, 9.0
#pragma once

#ifndef EIGEN_DONT_PARALLELIZE
#define EIGEN_DONT_PARALLELIZE  // threads are LibTorch's
#endif
#include <Eigen/Core>
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
