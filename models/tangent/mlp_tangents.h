// The tangent features of a fully connected network at points of the segment from its initial to its trained
// parameters.
//
// For x in R^d the feature is the gradient of the outputs with respect to all parameters. It is never formed: with
// activations h_l and backward signals delta_l, inner products are
//   <phi(x), phi(x')> = sum_l (s_l^2 <h_{l-1}, h'_{l-1}> + s_b^2) <delta_l, delta'_l>
//   <h, phi(x)>       = sum_l delta_l . (s_l dW_l h_{l-1} + s_b db_l)
// so everything is matrix products of sizes [images, width], and no temporary has P entries (METHODS 1).
//
// The gradient by an image x_j is -2 times that of a_j . J(x_j), where J is the derivative of the outputs along the
// residual R = h - sum_i a_i phi(x_i), held fixed: one forward pass with tangents and one backward pass through it. R
// itself is never formed either: R_l h and R_l^T delta are dW_l h and dW_l^T delta less products with the images' own
// Gram matrices. J is also the gradient by the coefficients, up to the same factor.
#pragma once

#include <vector>

#include "models/parameters.h"
#include "models/tangent/target.h"

namespace afterimage {

class MlpTangents final : public TangentTarget {
 public:
  // `weight_scales` holds s_l for each layer (s_b is 1). `initial` and `drift` are weight and bias for each layer in
  // turn; features are taken at initial + t drift for each t in `points`, each with coefficients of its own (F = points
  // x C, point-major). `basis` [r, d], orthonormal rows, or undefined: images are then given by coordinates in it. The
  // part of the drift outside the basis stays in squared_norm(). dtype is that of the parameters. Throws
  // std::invalid_argument when points are empty or shapes do not chain.
  MlpTangents(std::vector<double> weight_scales, const Parameters& initial, const Parameters& drift,
              std::vector<double> points, const Tensor& basis);

  std::int64_t dimension() const override { return layers_.front().initial.size(1); }
  std::int64_t features_per_image() const override { return static_cast<std::int64_t>(points_.size()) * outputs(); }
  at::ScalarType dtype() const override { return layers_.front().initial.scalar_type(); }
  double squared_norm() const override { return squared_norm_; }
  Tensor inner(const Tensor& images, Smoothing relu) override;
  Tensor gram(const Tensor& images, Smoothing relu) override;
  const Loss& loss(const Tensor& images, const Tensor& coefficients, Smoothing relu) override;

 private:
  struct Layer {
    Tensor initial, drift;            // s_l W and s_l dW, [n_l, n_{l-1}]
    Tensor bias_initial, bias_drift;  // [n_l]
    std::vector<Tensor> at_point;     // s_l W at each point; empty for the first layer, which needs only their sums
    double gram_weight = 1;           // s_l^2
  };
  // All [points x images, n_l], rows point-major, and reused from call to call.
  struct Rows {
    Tensor z, h, slope;         // pre-activation (as the layer below sends it), activation, s'(z)
    Tensor drift_product;       // dW h_{l-1} + db
    Tensor backward, delta;     // W^T delta of the layer above; that times s'
    Tensor z_change, h_change;  // derivative along the residual
    Tensor adjoint;             // of h, then of z
  };

  std::int64_t outputs() const { return layers_.back().initial.size(0); }
  std::int64_t point_count() const { return static_cast<std::int64_t>(points_.size()); }
  void reserve(std::int64_t images);
  void forward(const Tensor& images, Smoothing relu);
  void backward(const Tensor& cotangents);
  void along_residual(const Tensor& images);
  void adjoints(const Tensor& images, Smoothing relu);

  std::vector<double> points_;
  std::vector<Layer> layers_;
  double squared_norm_ = 0;
  std::int64_t images_ = 0;  // that the buffers are made for

  std::vector<Rows> rows_;                                                           // one for each layer
  Tensor first_initial_, first_drift_, delta_sum_, adjoint_sum_, adjoint_weighted_;  // first layer, [images, n_1]
  Tensor image_gram_, first_delta_gram_;                                             // [images, images]
  Tensor row_gram_, delta_gram_;                                                     // [rows, rows]
  Tensor cotangents_;                                                                // [rows, C]
  Tensor output_sum_;               // [C, n_{L-1}]: sum of delta h^T over the rows, the last layer's part of sum a phi
  std::vector<Tensor> gram_delta_;  // per layer [rows or images, n_l]: (s^2 G + 1) delta
  double inner_sum_ = 0, gram_sum_ = 0;  // sum a.b and a'Ka of the last pass
  Loss loss_;
};

}  // namespace afterimage
