// The tangent features of any network that autograd records, at given points of parameter space.
//
// With R = h - sum_i a_i phi(x_i), held fixed, the loss |R|^2 has the gradients of -2 <R, sum_j a_j phi(x_j)>, by
// images and by coefficients: a derivative of a derivative. What autograd keeps for it grows with the number of images,
// so they are processed in chunks: first all of them for R, then again for the second derivative, or both at once where
// they fit in one chunk.
//
// Parameters that training left exactly unchanged, such as frozen layers in fine-tuning, are constants here: they are
// part of neither h nor the features.
#pragma once

#include <vector>

#include "models/tangent/autograd.h"

namespace afterimage {

class AutogradTangents final : public TangentTarget {
 public:
  // What autograd may keep for the images of one chunk.
  static constexpr double largest_chunk_bytes = 1.0 * (1 << 30);
  // The peak memory of gram() for this many rows (M F) of this many float32 numbers.
  static double bytes_of_gram(double rows, double numbers);

  // `recorded` maps images [n, dimension] to C = `outputs` outputs. Features are taken at each point, each with its own
  // coefficients (F = points x C, point-major). dtype is that of the parameters. `chunk`: images at a time; 0: as many
  // as fit into largest_chunk_bytes, measured at the first call. Throws std::invalid_argument when there are no points,
  // when a point has other parameters than the drift, or when the drift is zero.
  AutogradTangents(Recorded recorded, std::int64_t dimension, std::int64_t outputs,
                   const std::vector<Parameters>& points, const Parameters& drift, std::int64_t chunk = 0);

  std::int64_t dimension() const override { return dimension_; }
  std::int64_t features_per_image() const override { return point_count() * outputs_; }
  at::ScalarType dtype() const override { return dtype_; }
  double squared_norm() const override { return squared_norm_; }
  Tensor inner(const Tensor& images, Smoothing relu) override;
  // By rows of P numbers, one block of rows against another at a time.
  Tensor gram(const Tensor& images, Smoothing relu) override;
  void hold(const Tensor& images) override;
  const Loss& loss(const Tensor& images, const Tensor& coefficients, Smoothing relu) override;

  std::int64_t moving_parameters() const { return moving_count_; }  // P, without frozen ones

 private:
  using Tensors = std::vector<Tensor>;
  struct Part {  // of the images at one point
    std::size_t point = 0;
    Range range;
    Tensor images, coefficients;  // leaves
    Tensors features;             // their sum, recorded
  };

  std::int64_t point_count() const { return static_cast<std::int64_t>(points_.size()); }
  void choose_chunk(const Tensor& images, Smoothing relu);
  void record(Part& part) const;
  void differentiate(Part& part, const Tensors& residual);
  // <direction, phi_f(x_j)>, [M, F].
  Tensor along(const Tensors& direction, const Tensor& images, Smoothing relu) const;
  // sum_jf a_jf phi_f(x_j) into `sum`, times `factor`.
  void add_combined(const Tensor& images, const Tensor& coefficients, Smoothing relu, double factor,
                    Tensors& sum) const;
  // Features as rows [count, P], image-major.
  Tensor rows(const Tensor& images, Smoothing relu, const Range& range) const;
  // Subtracts from the residual what the held images explain, and returns by how much that lowers its squared norm.
  double project_out_held(Tensors& residual) const;

  Recorded recorded_;
  std::int64_t dimension_, outputs_, moving_count_ = 0;
  at::ScalarType dtype_;
  std::vector<Differentiated> points_;
  Tensors drift_;  // of the parameters that moved
  double squared_norm_ = 0;
  Smoothing relu_;  // of the present call
  std::int64_t chunk_;
  Tensor held_, held_cholesky_;
  Loss loss_;
};

}  // namespace afterimage
