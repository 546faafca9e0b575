// The tangent features of a fully connected network at one point, and their derivatives in closed form.
//
// With activations h_l and the backward signals delta_lc of each output c (see MlpTangents for the features in terms of
// them), all results are functions of h and delta. Their derivatives are matrix products, propagated once up through
// the backward pass and once down through the forward pass.
#pragma once

#include <vector>

#include "models/tangent/features.h"
#include "models/tangent/target.h"

namespace afterimage {

class MlpFeatures final : public TangentFeatures {
 public:
  // `weight_scales` holds s_l for each layer; `at` weight and bias for each layer in turn; images [n, inputs of the
  // first]. All of one dtype, which is that of all results.
  MlpFeatures(std::vector<double> weight_scales, const Parameters& at, const Tensor& images, Smoothing relu);

  const Tensor& outputs() const override { return outputs_; }
  Tensor gram(std::int64_t count) const override;
  Parameters combined(const Tensor& coefficients) const override;
  // What they are made of, in layer `l` of depth(): its inputs [n, n_{l-1}] and backward signals [n, C, n_l].
  const Tensor& below(std::int64_t l) const { return layers_[l].below; }
  Tensor delta(std::int64_t l) const { return by_output(layers_[l].delta); }
  std::int64_t depth() const { return static_cast<std::int64_t>(layers_.size()); }
  Gradient gradient(const Parameters& direction, const Tensor& coefficients,
                    const std::function<Weights(const Tensor&)>& weights) const override;

 private:
  struct Layer {
    double scale = 1;
    Tensor below;            // [n, n_{l-1}] its inputs: the images, or activations
    Tensor delta;            // [n C, n_l] backward signals of each output, image-major
    Tensor backward, slope;  // [n C, n_l] delta before the slope s'(z), [n, n_l]; not of the last layer
  };

  const Tensor& weight(std::int64_t layer) const { return at_[2 * layer]; }
  Tensor by_output(const Tensor& rows) const;  // [n C, k] as [n, C, k]
  // Signals summed over the outputs with these coefficients, [n, n_l].
  Tensor weighted(std::int64_t layer, const Tensor& coefficients) const;
  // s'' / s' times the sum over the backward pass: the derivative through the slope by z. [n, n_l]; undefined for the
  // ReLU itself.
  Tensor curvature(std::int64_t layer, const Tensor& by_delta) const;

  const Parameters at_;
  Smoothing relu_;
  std::vector<Layer> layers_;
  Tensor outputs_;
};

}  // namespace afterimage
