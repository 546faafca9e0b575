// Fully connected ReLU networks of any depth: z_l = s_l W_l h_{l-1} + s_b b_l, h_l = max(z_l, 0), f = z_L.
//
// Standard parameterization: s_l = s_b = 1 and W_l starts from N(0, 1 / fan_in) (LeCun). NTK parameterization:
// s_l = 1 / sqrt(fan_in), s_b = 1, and W_l starts from N(0, 1). Biases are trained and start at zero in both.
// Parameters are named "fc1.weight" [n_1, d], "fc1.bias" [n_1], "fc2.weight", ...; weights that have other names are
// recognised by their shapes (models/dense_layers.h).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "models/dense_network.h"

namespace afterimage {

enum class Parameterization { standard, ntk };

// The architecture of a network of one layer.
inline constexpr const char* linear_family = "linear";

class Mlp final : public DenseNetwork {
 public:
  // Hidden widths; without any the network is one layer, f = s_1 W_1 x + b_1. Throws UsageError unless all sizes are
  // from 1 to 2^20.
  Mlp(std::int64_t inputs, std::vector<std::int64_t> widths, std::int64_t outputs, Parameterization parameterization);

  std::string first_weight() const override { return weight_name(0); }
  std::string first_bias() const override { return bias_name(0); }
  double first_bias_scale() const override { return 1 / weight_scale(0); }
  Tensor first_layer_inputs(const Parameters& parameters, const Tensor& images) const override {
    return affine(parameters, 0, images.to(parameters.dtype()));
  }

  std::vector<Tensor> activations(const Parameters& parameters, const Tensor& images) const override;

  AnalyticNtk infinite_kernel() const override;
  // Never null.
  std::optional<Parameters> draw_initial(Generator& random) const override;
  Parameters arranged(const Parameters& parameters, const std::string& file) const override;
  Tensor evaluate(const Parameters& parameters, const Tensor& images) const override;
  Sloped input_gradient(const Parameters& parameters, const Tensor& images, const Tensor& cotangents) const override;
  Parameters pullback(const Parameters& parameters, const Tensor& images,
                      const std::function<Tensor(const Tensor&)>& cotangents) const override;
  // As fast as pullback: |g_j|^2 = sum_l |delta_l|^2 (s_l^2 |h_{l-1}|^2 + 1), the two terms being the weight's and the
  // bias's (Goodfellow 2015, arXiv 1510.01799); the signals delta_l are clipped.
  Parameters clipped_pullback(const Parameters& parameters, const Tensor& images,
                              const std::function<Tensor(const Tensor&)>& cotangents, double clip,
                              const std::vector<bool>& trained) const override;
  Tensor pushforward(const Parameters& parameters, const Parameters& direction, const Tensor& images) const override;
  std::vector<LayerSignals> layer_signals(const Parameters& parameters, const Tensor& images) const override;
  std::unique_ptr<TangentFeatures> features_at(const Parameters& parameters, const Tensor& images,
                                               Smoothing relu) const override;
  Parameters in_basis(const Parameters& parameters, const Tensor& basis) const override;
  using DenseNetwork::tangents_at;
  std::unique_ptr<TangentTarget> tangents_at(const std::vector<Parameters>& points, const Parameters& drift,
                                             const Tensor& basis) const override;

  HiddenLayer last_hidden_layer() const override {
    if (layers() == 1) return {0, inputs(), false};
    return {sizes_[sizes_.size() - 2], sizes_[sizes_.size() - 3], sizes_.size() == 3};
  }
  std::unique_ptr<TangentTarget> tangents_of_neurons(const Tensor& neurons, const std::vector<Parameters>& points,
                                                     const Parameters& drift, const Tensor& basis) const override;

  std::int64_t layers() const { return static_cast<std::int64_t>(sizes_.size()) - 1; }
  const std::vector<std::int64_t>& sizes() const { return sizes_; }  // d, hidden widths, C
  double weight_scale(std::int64_t layer) const;                     // s_l, layer from 0
  static std::string weight_name(std::int64_t layer);
  static std::string bias_name(std::int64_t layer);

 private:
  std::vector<double> weight_scales() const;
  std::optional<Parameters> renamed(const Parameters& parameters) const;
  // z of one layer from the activations below it.
  Tensor affine(const Parameters& parameters, std::int64_t layer, const Tensor& below) const;
  // Derivatives by a layer's outputs [n, width] as derivatives by its inputs.
  Tensor below(const Parameters& parameters, std::int64_t layer, const Tensor& delta) const;
  void require_inputs(const Tensor& images) const;

  std::vector<std::int64_t> sizes_;  // d, hidden widths, C
  Parameterization parameterization_;
};

// Hidden widths "WIDTH,WIDTH,..." of an architecture. Throws UsageError.
std::vector<std::int64_t> parse_widths(const std::string& architecture, std::string_view text);
// The network of an architecture "mlp:WIDTH,..." or "linear" for images of `inputs` numbers. Throws UsageError on an
// unknown family or malformed widths.
std::unique_ptr<DenseNetwork> make_network(const std::string& architecture, const std::string& parameterization,
                                           std::int64_t inputs, std::int64_t outputs);

}  // namespace afterimage
