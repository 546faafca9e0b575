// What only fully connected networks have: closed forms for features, clipped gradients and the kernel at infinite
// width, and a first layer whose weights act on the image itself, f(x; theta) = g(W_1 x + b_1).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "models/network.h"
#include "models/tangent/analytic_ntk.h"
#include "models/tangent/features.h"

namespace afterimage {

class DenseNetwork : public Network {
 public:
  // The name of the first layer's weight, [n_1, d].
  virtual std::string first_weight() const = 0;
  // That of its bias [n_1], and s_b / s_1: what the bias is scaled by over what the weight is.
  virtual std::string first_bias() const = 0;
  virtual double first_bias_scale() const = 0;
  // Images [n, d], what goes into each later layer, after the ReLU, and the outputs.
  virtual std::vector<Tensor> activations(const Parameters& parameters, const Tensor& images) const = 0;
  // What the first layer's neurons get of images [n, d], z_1: [n, n_1].
  virtual Tensor first_layer_inputs(const Parameters& parameters, const Tensor& images) const = 0;

  // The tangent kernel of one output in the limit of infinitely wide hidden layers, with initial weights as
  // draw_initial() draws them; between outputs it is zero.
  virtual AnalyticNtk infinite_kernel() const = 0;

  // sum_j min(1, clip / |g_j|) g_j with g_j = sum_c v_jc phi_c(x_j), each image's own gradient where v =
  // cotangents(f(x)) [n, C] are the derivatives of its own loss; clip above 0, n may be 0. The norm |g_j| is over the
  // parameters that are `trained` (one flag each); of the others the sum is zero.
  virtual Parameters clipped_pullback(const Parameters& parameters, const Tensor& images,
                                      const std::function<Tensor(const Tensor&)>& cotangents, double clip,
                                      const std::vector<bool>& trained) const = 0;

  // What tangent features are made of: phi_c(x_j) is weight_scale delta_jc below_j^T in a layer's weight and delta_jc
  // in its bias. One for each layer, in the order of the parameters, which are weight and bias of each layer in turn.
  struct LayerSignals {
    double weight_scale = 1;
    Tensor below;  // [n, n_{l-1}] the layer's inputs
    Tensor delta;  // [n, C, n_l] derivatives of each output by z_l
  };
  virtual std::vector<LayerSignals> layer_signals(const Parameters& parameters, const Tensor& images) const = 0;

  // Tangent features of images [n, d] at `parameters`, which may both be in a basis (in_basis()).
  virtual std::unique_ptr<TangentFeatures> features_at(const Parameters& parameters, const Tensor& images,
                                                       Smoothing relu) const = 0;
  // Parameters that act on coordinates in a `basis` [r, d] of orthonormal rows, in place of images.
  virtual Parameters in_basis(const Parameters& parameters, const Tensor& basis) const = 0;

  // As Network::tangents_at(). With a `basis` [r, d] of orthonormal rows, images are given by coordinates [M, r] in it;
  // an undefined basis stands for none.
  virtual std::unique_ptr<TangentTarget> tangents_at(const std::vector<Parameters>& points, const Parameters& drift,
                                                     const Tensor& basis) const = 0;
  std::unique_ptr<TangentTarget> tangents_at(const std::vector<Parameters>& points,
                                             const Parameters& drift) const final {
    return tangents_at(points, drift, Tensor());
  }

  struct HiddenLayer {
    std::int64_t neurons = 0, inputs = 0;  // no neurons: the network has no hidden layer
    bool is_first = false;                 // its inputs are the images themselves
  };
  virtual HiddenLayer last_hidden_layer() const = 0;
  // As tangents_at(), but of all parameters only those of `neurons` [k] int64 of the last hidden layer: their weights
  // and biases, and the last layer's weights for them. The squared norm is that of this part. The products of a step
  // with the weights of these two layers shrink in proportion to k.
  virtual std::unique_ptr<TangentTarget> tangents_of_neurons(const Tensor& neurons,
                                                             const std::vector<Parameters>& points,
                                                             const Parameters& drift, const Tensor& basis) const = 0;

 protected:
  using Network::Network;
};

// The network as a dense one; null where it is none.
inline const DenseNetwork* as_dense(const Network& network) { return dynamic_cast<const DenseNetwork*>(&network); }

}  // namespace afterimage
