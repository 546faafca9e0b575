#include "models/last_layer.h"

#include <algorithm>
#include <vector>

#include "models/dense_network.h"

namespace afterimage {
namespace {

constexpr double same_outputs = 1e-3;  // relative: float32 sums
constexpr std::int64_t images_tried = 3;

// A network of one layer has its inputs for embeddings: those are no features of the network's own.
bool is_one_layer(const Network& network) {
  const DenseNetwork* dense = as_dense(network);
  return dense != nullptr && dense->last_hidden_layer().neurons == 0;
}

}  // namespace

Tensor with_bias(const Parameters& parameters, const LastLayer& layer) {
  const Tensor weight = parameters[layer.weight].to(at::kDouble);
  return layer.bias ? at::cat({weight, parameters[*layer.bias].to(at::kDouble).unsqueeze(1)}, 1) : weight;
}

Tensor last_layer_features(const Network& network, const Parameters& parameters, const LastLayer& layer,
                           const Tensor& images) {
  const std::int64_t outputs = network.outputs();
  std::vector<Tensor> rows{at::empty({0, with_bias(parameters, layer).size(1)}, at::kDouble)};
  // An output depends on its own row alone: as many images at a time as there are outputs, each by one of them.
  for (std::int64_t first = 0; first < images.size(0); first += outputs) {
    const std::int64_t count = std::min(outputs, images.size(0) - first);
    const Parameters gradient = network.pullback(parameters, images.narrow(0, first, count),
                                                 [&](const Tensor& f) { return at::eye(count, outputs, f.options()); });
    rows.push_back(with_bias(gradient, layer).narrow(0, 0, count));
  }
  return at::cat(rows);
}

std::optional<LastLayer> last_layer_of(const Network& network, const Parameters& parameters) {
  if (is_one_layer(network)) return std::nullopt;
  Generator random = seeded(0);
  const Tensor images = at::rand({images_tried, network.inputs()}, random, at::kFloat);
  const Tensor outputs = network.evaluate(parameters, images).to(at::kDouble);
  const auto fits = [&](const LastLayer& layer) {
    const Tensor given =
        at::mm(last_layer_features(network, parameters, layer, images), with_bias(parameters, layer).t());
    return ((given - outputs).norm() <= same_outputs * outputs.norm()).item<bool>();
  };
  for (std::size_t weight = parameters.size(); weight-- > 0;) {
    if (parameters[weight].dim() != 2 || parameters[weight].size(0) != network.outputs()) continue;
    for (std::size_t bias = parameters.size(); bias-- > 0;) {
      if (parameters[bias].dim() != 1 || parameters[bias].size(0) != network.outputs()) continue;
      if (fits({weight, bias})) return LastLayer{weight, bias};
    }
    if (fits({weight, std::nullopt})) return LastLayer{weight, std::nullopt};
  }
  return std::nullopt;
}

}  // namespace afterimage
