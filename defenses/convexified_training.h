// What RCIG differentiates through (Loo et al. 2023, sections 4.1 to 4.3): training on a few images S, made convex by
// linearizing the network, with the dense layer solved for, and the derivative of a loss at its minimum by S.
//
// With J the Jacobian of the outputs on S by the blocks' parameters, Phi the dense layer's inputs and y the targets,
// all at the parameters theta_0, training minimises over the change t of the blocks' parameters and the dense weights W
//   1/2 |y - J t - Phi W|^2 + ridge/2 (|W|^2 + |t|^2),
// a ridge regression in the network's tangent kernel, without its initial outputs. Solved for W, with
// A = (Phi Phi' + ridge I)^-1 for each output, W = Phi' q and q = A (y - J t), it is ridge times
//   1/2 <y - J t, A (y - J t)> + 1/2 |t|^2,
// whose Hessian J' A J + I is only ever multiplied with.
#pragma once

#include <memory>

#include "defenses/convolutional_network.h"

namespace afterimage {

// The derivative of an outer loss by S. `direct` is at fixed t, through Phi, J and y of the dense layer's solution;
// `implicit` is what the minimum's t adds by moving with S: d<J v, q> at fixed v and t, (J' A J + I) v = dloss/dt.
struct MetaGradient {
  double loss = 0;
  double accuracy = 0;  // on the outer images
  struct BySet {
    Tensor images;   // [M, d]
    Tensor targets;  // [M, C]
  };
  BySet direct, implicit;
  double by_log_temperature = 0;
};

class ConvexifiedTraining {
 public:
  // On images [M, d] with targets [M, C], in the dtype of `parameters`; the solve is in float64. All have to stay
  // unchanged while this lives. Throws std::runtime_error where rounding leaves Phi Phi' + ridge I indefinite.
  ConvexifiedTraining(const ConvolutionalNetwork& network, const Tensor& parameters, const Tensor& images,
                      const Tensor& targets, double ridge, Smoothing relu);
  ~ConvexifiedTraining();

  // At t [P].
  double loss(const Tensor& moved) const;
  Tensor gradient(const Tensor& moved) const;           // [P]
  Tensor hessian_times(const Tensor& direction) const;  // [P]

  struct Solution {
    Tensor value;         // [P]
    double residual = 0;  // |right - H value| / |right|
  };
  // H^-1 `right` by so many steps of conjugate gradients at most, from zero.
  Solution solve(const Tensor& right, std::int64_t steps) const;
  // The minimum, likewise.
  Solution minimum(std::int64_t steps) const;

  // Outputs J t + Phi W of other images, [n, C].
  Tensor predict(const Linearization& images, const Tensor& moved) const;

  // Of the mean over outer images [n, d] with targets [n, C] of the cross-entropy of exp(log_temperature) times the
  // outputs (Platt scaling), targets one-hot, or of log(1 + exp(-y f)) with one output, y = +-1; at t, which should be
  // the minimum. `steps` are for v.
  MetaGradient meta_gradient(const Tensor& moved, const Tensor& outer_images, const Tensor& outer_targets,
                             double log_temperature, std::int64_t steps) const;

 private:
  struct Factor;
  Tensor solve_dense(const Tensor& right) const;  // A `right`, [M, C]
  Tensor dual(const Tensor& moved) const;         // q

  const ConvolutionalNetwork& network_;
  Tensor parameters_;
  Smoothing relu_;
  Linearization set_;
  Tensor targets_;
  std::unique_ptr<const Factor> factor_;  // of Phi Phi' + ridge I
};

}  // namespace afterimage
