#include "models/tangent/mlp_features.h"

namespace afterimage {

MlpFeatures::MlpFeatures(std::vector<double> weight_scales, const Parameters& at, const Tensor& images, Smoothing relu)
    : at_(at), relu_(relu), layers_(weight_scales.size()) {
  const std::int64_t count = images.size(0), classes = weight(depth() - 1).size(0);
  Tensor h = images;
  for (std::int64_t l = 0; l < depth(); ++l) {
    layers_[l].scale = weight_scales[l];
    layers_[l].below = h;
    const Tensor z = at::addmm(at_[2 * l + 1], h, weight(l).t(), 1, weight_scales[l]);
    if (l + 1 == depth()) {
      outputs_ = z;
    } else {
      h = at::empty_like(z);
      layers_[l].slope = at::empty_like(z);
      activate(z, relu, h, layers_[l].slope);
    }
  }
  layers_.back().delta = at::eye(classes, images.options()).repeat({count, 1});
  for (std::int64_t l = depth() - 2; l >= 0; --l) {
    Layer& layer = layers_[l];
    layer.backward = at::mm(layers_[l + 1].delta, weight(l + 1)).mul_(layers_[l + 1].scale);
    layer.delta = (by_output(layer.backward) * layer.slope.unsqueeze(1)).view_as(layer.backward);
  }
}

Tensor MlpFeatures::by_output(const Tensor& rows) const {
  return rows.view({outputs_.size(0), outputs_.size(1), rows.size(1)});
}

Tensor MlpFeatures::weighted(std::int64_t layer, const Tensor& coefficients) const {
  return at::bmm(coefficients.unsqueeze(1), by_output(layers_[layer].delta)).squeeze(1);
}

Tensor MlpFeatures::gram(std::int64_t count) const {
  const std::int64_t classes = outputs_.size(1);
  Tensor kernel = at::zeros({count, classes, count, classes}, outputs_.options());
  for (const Layer& layer : layers_) {
    const Tensor below = layer.below.narrow(0, 0, count), delta = layer.delta.narrow(0, 0, count * classes);
    const Tensor activations = at::mm(below, below.t()).mul_(layer.scale * layer.scale).add_(1);
    kernel.addcmul_(at::mm(delta, delta.t()).view_as(kernel), activations.view({count, 1, count, 1}));
  }
  return kernel.view({count * classes, count * classes});
}

Parameters MlpFeatures::combined(const Tensor& coefficients) const {
  std::vector<Parameters::Entry> entries;
  for (std::int64_t l = 0; l < depth(); ++l) {
    const Tensor signal = weighted(l, coefficients);
    entries.emplace_back(at_.entries()[2 * l].first, at::mm(signal.t(), layers_[l].below).mul_(layers_[l].scale));
    entries.emplace_back(at_.entries()[2 * l + 1].first, signal.sum(0));
  }
  return Parameters(std::move(entries));
}

Tensor MlpFeatures::curvature(std::int64_t layer, const Tensor& by_delta) const {
  if (relu_.is_relu()) return {};
  const Tensor& slope = layers_[layer].slope;
  return (by_output(by_delta) * by_output(layers_[layer].backward)).sum(1).mul_(slope).mul_(1 - slope).mul_(relu_.beta);
}

TangentFeatures::Gradient MlpFeatures::gradient(const Parameters& direction, const Tensor& coefficients,
                                                const std::function<Weights(const Tensor&)>& weights) const {
  std::vector<Tensor> by_delta, by_below;  // [n C, n_l] and [n, n_{l-1}]
  Tensor along = at::zeros_like(outputs_);
  for (std::int64_t l = 0; l < depth(); ++l) {
    const Tensor moved = at::addmm(direction[2 * l + 1], layers_[l].below, direction[2 * l].t(), 1, layers_[l].scale);
    along.add_(at::bmm(by_output(layers_[l].delta), moved.unsqueeze(2)).squeeze(2));
    by_delta.push_back((coefficients.unsqueeze(2) * moved.unsqueeze(1)).view_as(layers_[l].delta));
    by_below.push_back(at::mm(weighted(l, coefficients), direction[2 * l]).mul_(layers_[l].scale));
  }
  const Weights given = weights(along);
  const std::int64_t classes = outputs_.size(1), rows = given.gram.size(0), count = rows / classes;
  const Tensor gram = given.gram.view({count, classes, count, classes});
  for (std::int64_t l = 0; l < depth(); ++l) {
    const double scale2 = layers_[l].scale * layers_[l].scale;
    const Tensor below = layers_[l].below.narrow(0, 0, count), delta = layers_[l].delta.narrow(0, 0, rows);
    const Tensor activations = at::mm(below, below.t()).mul_(scale2).add_(1).view({count, 1, count, 1});
    const Tensor signals = at::mm(delta, delta.t()).view_as(gram);
    by_delta[l].narrow(0, 0, rows).addmm_((gram * activations).view({rows, rows}), delta, 1, 2);
    by_below[l].narrow(0, 0, count).addmm_((gram * signals).sum({1, 3}), below, 1, 2 * scale2);
  }

  std::vector<Parameters::Entry> entries(2 * depth());
  std::vector<Tensor> by_z(layers_.size());
  for (std::int64_t l = 0; l + 1 < depth(); ++l) {  // up through the backward pass
    const double scale = layers_[l + 1].scale;
    by_z[l] = curvature(l, by_delta[l]);
    by_output(by_delta[l]).mul_(layers_[l].slope.unsqueeze(1));
    by_delta[l + 1].addmm_(by_delta[l], weight(l + 1).t(), 1, scale);
    entries[2 * l + 2].second = at::mm(layers_[l + 1].delta.t(), by_delta[l]).mul_(scale);
  }
  by_z.back() = given.outputs;
  for (std::int64_t l = depth() - 1; l >= 0; --l) {  // down through the forward pass
    const double scale = layers_[l].scale;
    Tensor& by_weight = entries[2 * l].second;
    if (!by_weight.defined()) by_weight = at::zeros_like(weight(l));
    by_weight.addmm_(by_z[l].t(), layers_[l].below, 1, scale);
    entries[2 * l + 1].second = by_z[l].sum(0);
    by_below[l].addmm_(by_z[l], weight(l), 1, scale);
    if (l == 0) break;
    const Tensor through = by_below[l] * layers_[l - 1].slope;
    by_z[l - 1] = by_z[l - 1].defined() ? by_z[l - 1].add_(through) : through;
  }
  for (std::size_t i = 0; i < entries.size(); ++i) entries[i].first = at_.entries()[i].first;
  return {by_below.front(), Parameters(std::move(entries))};
}

}  // namespace afterimage
