#include "defenses/convolutional_network.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <stdexcept>

namespace afterimage {
namespace {

constexpr std::int64_t side = 3;              // of a kernel
constexpr std::int64_t window = side * side;  // its pixels
constexpr std::int64_t pooled_side = 2;       // of what is averaged
constexpr std::int64_t divisor = std::int64_t{1} << ConvolutionalNetwork::blocks;

std::int64_t rounded_up(std::int64_t size) { return (size + divisor - 1) / divisor * divisor; }

Tensor convolved(const Tensor& input, const Tensor& weight, const Tensor& bias = {}) {
  return at::conv2d(input, weight, bias, 1, side / 2);
}

Tensor pooled(const Tensor& maps) { return at::avg_pool2d(maps, {pooled_side, pooled_side}); }

constexpr std::int64_t grain = 4096;  // pixels that are worth a thread

// The 2x2 averages of values * slope, both [n, k, H, W] with even sides.
Tensor pooled_product(const Tensor& values, const Tensor& slope) {
  const std::int64_t width = values.size(3), rows = values.numel() / (2 * width);
  Tensor result = at::empty({values.size(0), values.size(1), values.size(2) / 2, width / 2}, values.options());
  AT_DISPATCH_FLOATING_TYPES(values.scalar_type(), "pooled_product", [&] {
    const auto* v = values.data_ptr<scalar_t>();
    const auto* s = slope.data_ptr<scalar_t>();
    auto* out = result.data_ptr<scalar_t>();
    at::parallel_for(0, rows, grain / width + 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const std::int64_t up = 2 * row * width, down = up + width, to = row * (width / 2);
        for (std::int64_t j = 0; j < width / 2; ++j) {
          out[to + j] = (v[up + 2 * j] * s[up + 2 * j] + v[up + 2 * j + 1] * s[up + 2 * j + 1] +
                         v[down + 2 * j] * s[down + 2 * j] + v[down + 2 * j + 1] * s[down + 2 * j + 1]) /
                        4;
        }
      }
    });
  });
  return result;
}

// Its adjoint: a quarter of maps [n, k, H / 2, W / 2] at each of four pixels, times slope [n, k, H, W].
Tensor unpooled_product(const Tensor& maps, const Tensor& slope) {
  const Tensor from = maps.contiguous();
  const std::int64_t width = slope.size(3), rows = slope.numel() / (2 * width);
  Tensor result = at::empty_like(slope);
  AT_DISPATCH_FLOATING_TYPES(slope.scalar_type(), "unpooled_product", [&] {
    const auto* m = from.data_ptr<scalar_t>();
    const auto* s = slope.data_ptr<scalar_t>();
    auto* out = result.data_ptr<scalar_t>();
    at::parallel_for(0, rows, grain / width + 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const std::int64_t up = 2 * row * width, down = up + width, at = row * (width / 2);
        for (std::int64_t j = 0; j < width / 2; ++j) {
          const scalar_t quarter = m[at + j] / 4;
          out[up + 2 * j] = quarter * s[up + 2 * j];
          out[up + 2 * j + 1] = quarter * s[up + 2 * j + 1];
          out[down + 2 * j] = quarter * s[down + 2 * j];
          out[down + 2 * j + 1] = quarter * s[down + 2 * j + 1];
        }
      }
    });
  });
  return result;
}

// W [out, k] times each of patches [n, k, p].
Tensor times_each(const Tensor& weight, const Tensor& patches) {
  return at::bmm(weight.unsqueeze(0).expand({patches.size(0), -1, -1}), patches);
}

}  // namespace

ConvolutionalNetwork::ConvolutionalNetwork(std::vector<std::int64_t> image_shape, std::int64_t channels,
                                           std::int64_t outputs)
    : height_(image_shape.empty() ? 0 : image_shape[0]),
      width_(image_shape.size() < 2 ? 0 : image_shape[1]),
      colours_(image_shape.size() < 3 ? 1 : image_shape[2]),
      outputs_(outputs),
      padded_height_(rounded_up(height_)),
      padded_width_(rounded_up(width_)),
      channels_{colours_} {
  if (image_shape.size() < 2 || image_shape.size() > 3) {
    throw std::invalid_argument("a convolutional network needs images of shape [h, w] or [h, w, c]");
  }
  for (std::size_t l = 0; l < blocks; ++l) {
    channels_.push_back(channels << l);
    body_ += channels_[l + 1] * (channels_[l] * window + 1);
  }
  features_ = channels_.back() * (padded_height_ / divisor) * (padded_width_ / divisor);
}

Tensor ConvolutionalNetwork::initial(Generator& random, at::ScalarType dtype) const {
  Tensor parameters = at::zeros({this->parameters()}, dtype);
  for (const Block& block : blocks_of(parameters)) {
    block.weight.copy_(at::randn(block.weight.sizes(), random, dtype));
    block.weight.mul_(1 / std::sqrt(static_cast<double>(block.weight[0].numel())));
  }
  Tensor weights = dense_of(parameters).narrow(1, 0, features_);
  weights.copy_(at::randn(weights.sizes(), random, dtype)).mul_(1 / std::sqrt(static_cast<double>(features_)));
  return parameters;
}

std::vector<ConvolutionalNetwork::Block> ConvolutionalNetwork::blocks_of(const Tensor& parameters) const {
  std::vector<Block> views;
  std::int64_t at = 0;
  for (std::size_t l = 0; l < blocks; ++l) {
    const std::int64_t in = channels_[l], out = channels_[l + 1], weights = out * in * window;
    views.push_back(
        {parameters.narrow(0, at, weights).view({out, in, side, side}), parameters.narrow(0, at + weights, out)});
    at += weights + out;
  }
  return views;
}

Tensor ConvolutionalNetwork::dense_of(const Tensor& parameters) const {
  return parameters.narrow(0, body_, outputs_ * (features_ + 1)).view({outputs_, features_ + 1});
}

Tensor ConvolutionalNetwork::laid_out(const Tensor& images) const {
  const Tensor pictures = images.reshape({images.size(0), height_, width_, colours_}).permute({0, 3, 1, 2});
  const std::int64_t rows = padded_height_ - height_, columns = padded_width_ - width_;
  return at::constant_pad_nd(pictures, {columns / 2, columns - columns / 2, rows / 2, rows - rows / 2}).contiguous();
}

Tensor ConvolutionalNetwork::flattened(const Tensor& padded) const {
  return padded.narrow(2, (padded_height_ - height_) / 2, height_)
      .narrow(3, (padded_width_ - width_) / 2, width_)
      .permute({0, 2, 3, 1})
      .reshape({padded.size(0), pixels()});
}

Tensor ConvolutionalNetwork::as_maps(const Tensor& features) const {
  return features.reshape({features.size(0), channels_.back(), padded_height_ / divisor, padded_width_ / divisor});
}

Linearization::Linearization(const ConvolutionalNetwork& network, const Tensor& parameters, const Tensor& images,
                             Smoothing relu)
    : network_(network), relu_(relu), dense_(network.dense_of(parameters)) {
  Tensor input = network.laid_out(images.to(parameters.scalar_type()));
  patches_ = at::im2col(input, {side, side}, {1, 1}, {side / 2, side / 2}, {1, 1});
  for (const auto& [weight, bias] : network.blocks_of(parameters)) {
    const bool first = blocks_.empty();
    const Tensor z = first ? times_each(weight.flatten(1), patches_)
                                 .view({input.size(0), weight.size(0), input.size(2), input.size(3)})
                                 .add_(bias.view({-1, 1, 1}))
                           : convolved(input, weight, bias);
    const Tensor h = at::empty_like(z), slope = at::empty_like(z);
    activate(z, relu, h, slope);
    blocks_.push_back({input, slope, weight, weight.flip({2, 3}).transpose(0, 1).contiguous()});
    input = pooled(h);
  }
  features_ = at::cat({input.flatten(1), at::ones({input.size(0), 1}, input.options())}, 1);
}

Tensor Linearization::outputs() const { return at::mm(features_, dense_.t()); }

Linearization::Moved Linearization::moved(const Tensor& direction) const {
  Moved result;
  Tensor input;  // how it moves; the images do not
  const auto change = network_.blocks_of(direction);
  for (std::size_t l = 0; l < blocks_.size(); ++l) {
    const Block& block = blocks_[l];
    Tensor z;
    if (l == 0) {
      z = times_each(change[l].weight.flatten(1), patches_).view_as(block.slope).add_(change[l].bias.view({-1, 1, 1}));
    } else {
      z = convolved(block.input, change[l].weight, change[l].bias).add_(convolved(input, block.weight));
    }
    result.before.push_back(z);
    input = pooled_product(z, block.slope);
  }
  result.features = input.flatten(1);
  return result;
}

Tensor Linearization::pushforward(const Tensor& direction) const {
  return at::mm(moved(direction).features, dense_.narrow(1, 0, network_.features()).t());
}

Tensor Linearization::pullback(const Tensor& cotangents) const {
  Tensor gradient = at::empty({network_.body()}, features_.options());
  const auto views = network_.blocks_of(gradient);
  Tensor signal = network_.as_maps(at::mm(cotangents, dense_.narrow(1, 0, network_.features())));
  for (std::size_t l = blocks_.size(); l-- > 0;) {
    const Block& block = blocks_[l];
    signal = unpooled_product(signal, block.slope);
    views[l].bias.copy_(signal.sum({0, 2, 3}));
    if (l == 0) {
      views[l].weight.copy_(at::bmm(signal.flatten(2), patches_.transpose(1, 2)).sum(0).view_as(block.weight));
    } else {
      views[l].weight.copy_(
          std::get<1>(at::convolution_backward(signal, block.input, block.weight, {}, {1, 1}, {side / 2, side / 2},
                                               {1, 1}, false, {0, 0}, 1, {false, true, false})));
      signal = convolved(signal, block.flipped);
    }
  }
  return gradient;
}

Tensor Linearization::image_gradient(const Tensor& by_features, const std::vector<Pairing>& pairings) const {
  const Tensor weights = dense_.narrow(1, 0, network_.features());
  std::vector<std::vector<Tensor>> before;                   // d z along each direction
  std::vector<std::vector<ConvolutionalNetwork::Block>> to;  // each direction
  std::vector<Tensor> along;                                 // derivatives by d h along each
  for (const auto& [direction, cotangents] : pairings) {
    before.push_back(moved(direction).before);
    to.push_back(network_.blocks_of(direction));
    along.push_back(network_.as_maps(at::mm(cotangents, weights)));
  }
  Tensor signal = network_.as_maps(by_features.narrow(1, 0, network_.features()));  // derivative by h
  for (std::size_t l = blocks_.size(); l-- > 0;) {
    const Block& block = blocks_[l];
    signal = unpooled_product(signal, block.slope);
    Tensor below;
    for (std::size_t k = 0; k < pairings.size(); ++k) {
      const Tensor own = unpooled_product(along[k], block.slope);
      // s'' of the softplus is beta s' (1 - s'); the ReLU has none.
      if (!relu_.is_relu()) signal.add_((1 - block.slope).mul_(own).mul_(before[k][l]), relu_.beta);
      const Tensor part = convolved(own, to[k][l].weight.flip({2, 3}).transpose(0, 1).contiguous());
      below = below.defined() ? below.add_(part) : part;
      if (l > 0) along[k] = convolved(own, block.flipped);
    }
    signal = convolved(signal, block.flipped);
    if (below.defined()) signal.add_(below);
  }
  return network_.flattened(signal);
}

Tensor squared_loss_gradient(const ConvolutionalNetwork& network, const Tensor& parameters, const Tensor& images,
                             const Tensor& targets, Smoothing relu) {
  const Linearization at_parameters(network, parameters, images, relu);
  const Tensor residual = (at_parameters.outputs() - targets).div_(static_cast<double>(targets.numel()));
  return at::cat({at_parameters.pullback(residual), at::mm(residual.t(), at_parameters.features()).flatten()});
}

}  // namespace afterimage
