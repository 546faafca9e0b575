#include "attacks/solver/last_layer.h"

#include <fmt/format.h>

#include <cmath>

#include "attacks/solver/fit.h"

namespace afterimage {
namespace {

// Rounding in float32 training leaves noise some 1e-5 of a weight's size after 1e5 steps; a direction of the change
// that is weaker than this may be either.
constexpr double largest_noise = 1e-4;
constexpr double least_span_gap = 10;
constexpr double linear = 1e-3;  // relative: float32 sums of outputs

// Whether the outputs are the product of the layer and its features: tried on a few images.
bool is_linear(const TrainedNetwork& released, const LastLayer& layer) {
  constexpr std::int64_t count = 3;
  Generator random = seeded(0);
  const Tensor images = at::rand({count, released.network->inputs()}, random, at::kFloat);
  const Tensor features = last_layer_features(*released.network, released.trained, layer, images);
  const auto change_of_outputs = [&] {
    return (released.network->evaluate(released.trained, images) - released.network->evaluate(released.initial, images))
        .to(at::kDouble);
  };
  const Tensor given = change_of_outputs(),
               expected =
                   at::mm(features, (with_bias(released.trained, layer) - with_bias(released.initial, layer)).t());
  return ((given - expected).norm() <= linear * given.norm()).item<bool>();
}

}  // namespace

std::size_t first_trained_layer(const TrainedNetwork& released) {
  if (released.dense() == nullptr) return 0;
  for (std::size_t i = 0; i < released.initial.size(); ++i) {
    if (!at::equal(released.initial[i], released.trained[i])) return i / 2;
  }
  return 0;
}

SpanSearch find_layer_span(const TrainedNetwork& released, std::size_t layer) {
  const std::size_t weight = 2 * layer;
  return find_row_span(released.initial[weight], released.trained[weight]);
}

std::optional<LastLayer> trained_last_layer(const TrainedNetwork& released) {
  if (!released.knows_initial()) return std::nullopt;
  const std::vector<bool> moving = moved(released.trained.minus(released.initial));
  const std::int64_t outputs = released.network->outputs();
  std::optional<std::size_t> weight, bias;
  for (std::size_t i = 0; i < moving.size(); ++i) {
    if (!moving[i]) continue;
    const Tensor& tensor = released.trained[i];
    auto& place = tensor.dim() == 2 ? weight : bias;
    if (tensor.dim() > 2 || tensor.dim() < 1 || tensor.size(0) != outputs || place) return std::nullopt;
    place = i;
  }
  if (!weight) return std::nullopt;
  const LastLayer layer{*weight, bias};
  if (!is_linear(released, layer)) return std::nullopt;
  return layer;
}

SpanSearch find_feature_span(const TrainedNetwork& released, const LastLayer& layer) {
  const Tensor trained = with_bias(released.trained, layer);
  SpanSearch search = find_row_span(with_bias(released.initial, layer), trained);
  const double size = std::sqrt(trained.square().mean().item<double>());
  if (!search.span || search.span->gap < least_span_gap || search.span->rounding > largest_noise * size) {
    search.span.reset();
    search.evidence = fmt::format(
        "the last layer's change has no smaller rank than its {} output(s) allow, as with at least that many training "
        "images, or "
        "under Adam",
        released.network->outputs());
  }
  return search;
}

Tensor distance_to_targets(const TrainedNetwork& released, const Tensor& images) {
  const Tensor outputs = released.network->evaluate(released.trained, images).to(at::kDouble);
  return (outputs - fitted_targets(outputs)).abs().amax(1);
}

}  // namespace afterimage
