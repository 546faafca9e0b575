// The network that RCIG distils with (Loo et al. 2023, section 5), and its linearization at some parameters, in closed
// form: nothing here records operations.
//
// Three blocks of 3x3 convolution, ReLU (or softplus) and 2x2 average pooling, each with twice the channels of the one
// before, then one dense layer. Pictures are padded with zeros all around to sides that three poolings divide.
#pragma once

#include <vector>

#include "models/tangent/target.h"
#include "models/tensor.h"

namespace afterimage {

class ConvolutionalNetwork {
 public:
  static constexpr std::size_t blocks = 3;

  // `image_shape` is [h, w] or [h, w, c], `channels` those of the first block, `outputs` C. Throws
  // std::invalid_argument on another shape.
  ConvolutionalNetwork(std::vector<std::int64_t> image_shape, std::int64_t channels, std::int64_t outputs);

  std::int64_t pixels() const { return height_ * width_ * colours_; }  // d
  std::int64_t outputs() const { return outputs_; }
  std::int64_t features() const { return features_; }  // F, that the dense layer sees
  std::int64_t body() const { return body_; }          // P, parameters of all blocks
  std::int64_t parameters() const { return body_ + outputs_ * (features_ + 1); }

  // [parameters()]: the blocks' weights and biases in turn, then the dense layer's [C, F + 1], its biases last. Weights
  // from N(0, 1 / inputs of a unit), biases zero.
  Tensor initial(Generator& random, at::ScalarType dtype) const;

  struct Block {
    Tensor weight, bias;  // [out, in, 3, 3], [out]
  };
  std::vector<Block> blocks_of(const Tensor& parameters) const;  // views of the first P entries
  Tensor dense_of(const Tensor& parameters) const;               // a view [C, F + 1]

  Tensor laid_out(const Tensor& images) const;   // [n, d] -> [n, c, H, W], padded
  Tensor flattened(const Tensor& padded) const;  // its adjoint
  Tensor as_maps(const Tensor& features) const;  // [n, F] -> the last block's [n, channels, h, w]

 private:
  std::int64_t height_, width_, colours_, outputs_;
  std::int64_t padded_height_, padded_width_;
  std::vector<std::int64_t> channels_;  // into and out of the blocks
  std::int64_t features_ = 0, body_ = 0;
};

// Of images [n, d] at `parameters`: f(x) + J(x) (theta - theta_0) in the blocks' parameters, phi(x) in the dense layer.
// All in the dtype of the parameters.
class Linearization {
 public:
  Linearization(const ConvolutionalNetwork& network, const Tensor& parameters, const Tensor& images, Smoothing relu);

  // phi [n, F + 1], a one last: the bias is a weight like the others.
  const Tensor& features() const { return features_; }
  Tensor outputs() const;  // f [n, C]

  // J v [n, C] of v [P].
  Tensor pushforward(const Tensor& direction) const;
  // J' u [P] of u [n, C].
  Tensor pullback(const Tensor& cotangents) const;

  struct Pairing {
    Tensor direction;   // v [P]
    Tensor cotangents;  // u [n, C]
  };
  // The gradient by the images of <by_features, phi> + sum over pairings of <u, J v>, [n, d], with `by_features`
  // [n, F + 1], v and u held.
  Tensor image_gradient(const Tensor& by_features, const std::vector<Pairing>& pairings) const;

 private:
  struct Block {
    Tensor input;    // [n, in, H, W]
    Tensor slope;    // of the activation [n, out, H, W]
    Tensor weight;   // [out, in, 3, 3]
    Tensor flipped;  // [in, out, 3, 3]: the convolution that is its transpose
  };
  // d z of all blocks along `direction`, and d phi of the last.
  struct Moved {
    std::vector<Tensor> before;
    Tensor features;  // [n, F]
  };
  Moved moved(const Tensor& direction) const;

  const ConvolutionalNetwork& network_;
  Smoothing relu_;
  std::vector<Block> blocks_;
  Tensor patches_;  // of the images, [n, 9 c, H W]: a convolution of so few channels is a product with these
  Tensor dense_;    // [C, F + 1]
  Tensor features_;
};

// The gradient [parameters()] of half the mean over images and outputs of (f - y)^2, targets y [n, C].
Tensor squared_loss_gradient(const ConvolutionalNetwork& network, const Tensor& parameters, const Tensor& images,
                             const Tensor& targets, Smoothing relu);

}  // namespace afterimage
