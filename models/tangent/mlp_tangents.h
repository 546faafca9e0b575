// The tangent features of a fully connected network at given points of parameter space, usually between its initial and
// its trained parameters.
//
// For x in R^d the feature is the gradient of the outputs with respect to all parameters. It is never formed: with
// activations h_l and backward signals delta_l, inner products are
//   <phi(x), phi(x')> = sum_l (s_l^2 <h_{l-1}, h'_{l-1}> + s_b^2) <delta_l, delta'_l>
//   <h, phi(x)>       = sum_l delta_l . (s_l dW_l h_{l-1} + s_b db_l)
// so everything is matrix products (docs/methods.md, section 1).
//
// The gradient by an image x_j is -2 times that of a_j . J(x_j), where J is the derivative of the outputs along the
// residual R = h - sum_i a_i phi(x_i), held fixed: one forward pass with tangents and one backward pass through it. J
// is also the gradient by the coefficients, up to the same factor. The products of R with a layer's activations and
// signals are computed in the cheaper of two ways: with R_l = dW_l - sum delta h^T itself, of the size of one layer,
// or, where the layer is wide and the images are few, as dW_l minus products with the images' own Gram matrices.
//
// Images that are held (hold()) have their features at the hard ReLU, computed once; at every step their best
// coefficients c = K^-1 (b - w) are solved for, and what they explain is subtracted from R. By the envelope theorem the
// gradients are those at that c.
//
// A weight or bias that training did not change at all, while others changed, was frozen, or its start is not known and
// taken to be its end: it is left out of the features and of everything above.
//
// Threads share the images in chunks, and each runs its own products: a step has three or four parallel regions, where
// parallel products would have forty.
#pragma once

#include <vector>

#include "models/parameters.h"
#include "models/tangent/target.h"

namespace afterimage {

class MlpTangents final : public TangentTarget {
 public:
  // `weight_scales` holds s_l for each layer (s_b is 1). `points` and `drift` hold weight and bias for each layer in
  // turn; features are taken at each point, each with its own coefficients (F = points x C, point-major). With a
  // `basis` [r, d] of orthonormal rows, images are given by coordinates in it; an undefined one stands for none. The
  // part of the drift outside the basis stays in squared_norm(). dtype is that of the parameters. Throws
  // std::invalid_argument when there are no points or shapes do not chain.
  MlpTangents(const std::vector<double>& weight_scales, const std::vector<Parameters>& points, const Parameters& drift,
              const Tensor& basis);

  std::int64_t dimension() const override { return layers_.front().drift.size(1); }
  std::int64_t features_per_image() const override { return point_count() * outputs(); }
  at::ScalarType dtype() const override { return layers_.front().drift.scalar_type(); }
  double squared_norm() const override { return squared_norm_; }
  Tensor inner(const Tensor& images, Smoothing relu) override;
  Tensor gram(const Tensor& images, Smoothing relu) override { return gram_of_first(images.size(0), images, relu); }
  Tensor gram_of_first(std::int64_t first, const Tensor& images, Smoothing relu) override;
  void hold(const Tensor& images) override;
  const Loss& loss(const Tensor& images, const Tensor& coefficients, Smoothing relu) override;

 private:
  struct Layer {
    std::vector<Tensor> weight, bias;  // s_l W_l [n_l, n_{l-1}] and b_l [n_l] at each point
    Tensor drift, bias_drift;          // s_l dW_l and db_l
    double scale2 = 1;                 // s_l^2
    double drift_norm2 = 0;            // |dW_l|^2 + |db_l|^2 (inside the basis)
    double weights = 1, biases = 1;    // s_l^2 and s_b^2 in inner products of features; 0 where frozen
  };
  // Buffers of one layer, reused from call to call. Rows are images x points: chunk by chunk, in a chunk point by
  // point.
  struct Rows {
    Tensor h, slope, delta;          // [rows, n_l]: activation, s'(z), W^T delta of the layer above times s'
    Tensor change;                   // z, then its derivative along the residual
    Tensor adjoint;                  // derivative of h along the residual, then the adjoint of h and of z
    Tensor residual, bias_residual;  // R_l and its bias, where they are formed
    Tensor gram;                     // [chunk rows, rows] of each chunk in turn, where R_l is not formed
    Tensor cross;                    // [held rows, rows]: s^2 <h, h'> + 1 with the held images
    bool forms_residual = false;
  };
  struct Chunk {
    std::int64_t first_image = 0, images = 0, first_row = 0;
  };
  struct HeldLayer {
    Tensor below, delta;  // [held rows, n_{l-1}] and [held rows, n_l], unit cotangents
    Tensor weighted;      // delta times the present coefficients
    Tensor overlap;       // scratch, [held rows, n_l]
  };
  struct Held {
    std::int64_t rows = 0;
    std::vector<HeldLayer> layers;
    Tensor inner;       // b [rows], float64
    Tensor cholesky;    // of K, float64
    Tensor inner_rest;  // b - w
  };

  std::int64_t outputs() const { return layers_.back().drift.size(0); }
  std::int64_t point_count() const { return static_cast<std::int64_t>(layers_.front().weight.size()); }
  std::int64_t depth() const { return static_cast<std::int64_t>(layers_.size()); }
  void reserve(std::int64_t images, std::int64_t chunks);
  Tensor chunk_of(const Tensor& rows, const Chunk& chunk) const;  // all its rows
  Tensor point_of(const Tensor& rows, const Chunk& chunk, std::int64_t point) const;
  // The inputs of a layer: the images themselves for the first, [images or rows, n_{l-1}].
  const Tensor& below(std::int64_t layer) const { return layer == 0 ? images_ : rows_[layer - 1].h; }
  // Its backward signals, summed over the points for the first layer, whose inputs are the same at all points.
  const Tensor& signals(std::int64_t layer) const { return layer == 0 ? delta_sum_ : rows_[layer].delta; }
  Tensor own(const Tensor& rows, std::int64_t layer, const Chunk& chunk) const;
  Tensor product_of(const Chunk& chunk, std::int64_t layer) const;

  void forward(const Chunk& chunk, Smoothing relu);
  void backward(const Chunk& chunk);
  std::vector<std::vector<Tensor>> unit_signals();
  double form_residual(std::int64_t layer, std::int64_t first, std::int64_t count);
  void overlap_with_held(std::int64_t first, std::int64_t count);
  double solve_held();
  // Sums -2 <h, sum a phi> + |sum a phi|^2 over the chunk's rows of the layers whose residual is not formed.
  double along_residual(const Chunk& chunk);
  void adjoints(const Chunk& chunk, Smoothing relu);

  std::vector<Layer> layers_;
  double squared_norm_ = 0;
  Tensor images_;  // of the present call, [M, k]

  std::vector<Rows> rows_;
  std::vector<Chunk> chunks_;
  std::int64_t count_ = 0;  // number of images that the buffers are sized for
  Tensor delta_sum_;        // [images, n_1]; with one point, the first layer's delta itself
  Tensor product_;          // [rows, widest n_l]: dW h_{l-1} + db of one layer at a time, chunk by chunk
  Held held_;
  Loss loss_;
};

}  // namespace afterimage
