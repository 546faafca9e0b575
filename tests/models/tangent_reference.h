// The attack's loss with explicit parameter-sized features by autograd, to check and time closed forms against. Shares
// no code with them.
#pragma once

#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <vector>

#include "models/parameters.h"
#include "models/tangent/target.h"

namespace reference {

using torch::Tensor;
using Weights = std::vector<Tensor>;  // weight, bias for each layer

inline Weights at_point(const afterimage::Parameters& initial, const afterimage::Parameters& trained, double t) {
  Weights weights;
  for (std::size_t i = 0; i < initial.size(); ++i) {
    weights.push_back(((1 - t) * initial[i] + t * trained[i]).detach().clone().requires_grad_(true));
  }
  return weights;
}

inline Tensor forward(const Weights& weights, const std::vector<double>& scales, Tensor h, afterimage::Smoothing relu) {
  for (std::size_t l = 0; l < scales.size(); ++l) {
    h = torch::matmul(h, weights[2 * l].t()) * scales[l] + weights[2 * l + 1];
    if (l + 1 == scales.size()) break;
    h = relu.is_relu() ? torch::relu(h) : torch::softplus(h, relu.beta, 45);
  }
  return h;
}

// Features of parameters that did not change are left out, unless none did.
inline Weights only_moved(const Weights& features, const afterimage::Parameters& initial,
                          const afterimage::Parameters& trained) {
  const bool any = trained.minus(initial).squared_norm() > 0;
  Weights moved;
  for (std::size_t i = 0; i < features.size(); ++i) {
    const bool still = any && torch::equal(initial[i], trained[i]);
    moved.push_back(still ? torch::zeros_like(features[i]) : features[i]);
  }
  return moved;
}

struct Gradients {
  double value;
  Tensor by_images, by_coefficients;
};

// ||h - sum a phi||^2 by forming the residual and differentiating twice. coefficients [M, points * C].
inline Gradients tangent_loss(const afterimage::Parameters& initial, const afterimage::Parameters& trained,
                              const std::vector<double>& scales, const std::vector<double>& points,
                              const Tensor& images, const Tensor& coefficients, afterimage::Smoothing relu) {
  Tensor x = images.detach().clone().requires_grad_(true);
  Tensor a = coefficients.detach().clone().requires_grad_(true);
  std::vector<Tensor> residual;
  for (std::size_t i = 0; i < initial.size(); ++i) residual.push_back(trained[i] - initial[i]);
  const std::int64_t outputs = initial[initial.size() - 1].size(0);
  for (std::size_t p = 0; p < points.size(); ++p) {
    const Weights weights = at_point(initial, trained, points[p]);
    const Tensor weighted =
        (forward(weights, scales, x, relu) * a.narrow(1, static_cast<std::int64_t>(p) * outputs, outputs)).sum();
    const auto features = only_moved(torch::autograd::grad({weighted}, weights, {}, true, true), initial, trained);
    for (std::size_t i = 0; i < residual.size(); ++i) residual[i] = residual[i] - features[i];
  }
  Tensor loss = torch::zeros({}, x.options());
  for (const auto& r : residual) loss = loss + r.pow(2).sum();
  const auto gradients = torch::autograd::grad({loss}, {x, a});
  return {loss.item<double>(), gradients[0], gradients[1]};
}

// phi_f(x_j), [M * points * C, P], image-major, one row at a time.
inline Tensor features(const afterimage::Parameters& initial, const afterimage::Parameters& trained,
                       const std::vector<double>& scales, const std::vector<double>& points, const Tensor& images,
                       afterimage::Smoothing relu) {
  std::vector<Tensor> rows;
  for (std::int64_t j = 0; j < images.size(0); ++j) {
    for (const double t : points) {
      const Weights weights = at_point(initial, trained, t);
      const Tensor outputs = forward(weights, scales, images.narrow(0, j, 1), relu).squeeze(0);
      for (std::int64_t c = 0; c < outputs.size(0); ++c) {
        const auto gradient = only_moved(torch::autograd::grad({outputs[c]}, weights, {}, true), initial, trained);
        std::vector<Tensor> flat;
        for (const auto& g : gradient) flat.push_back(g.reshape({-1}));
        rows.push_back(torch::cat(flat));
      }
    }
  }
  return torch::stack(rows);
}

inline Tensor flatten(const afterimage::Parameters& parameters) {
  std::vector<Tensor> flat;
  for (const auto& [name, tensor] : parameters.entries()) flat.push_back(tensor.reshape({-1}));
  return torch::cat(flat);
}

}  // namespace reference
