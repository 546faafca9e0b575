// An element h of a tangent feature space, known only through inner products.
//
// Reconstruction searches for few images x_j with coefficients a_j such that sum_j a_j phi(x_j) equals h. Every regime
// (finite width, several points of the training path, infinite width) is one class behind this interface, so that the
// solver is written once (docs/methods.md, section 1).
#pragma once

#include <limits>

#include "models/tensor.h"

namespace afterimage {

// The ReLU max(z, 0), or softplus(beta z) / beta in its place during a search: images then cross its kinks.
struct Smoothing {
  double beta = std::numeric_limits<double>::infinity();  // infinity: the ReLU itself
  bool is_relu() const { return beta == std::numeric_limits<double>::infinity(); }
};

// Of beta z, above which the softplus and the identity are equal in float64.
inline constexpr double softplus_threshold = 45;

// s(z) into h and s'(z) into slope, all of one shape and dtype, without a temporary where z is smoothed.
void activate(const Tensor& z, Smoothing relu, Tensor h, Tensor slope);

// Each image has F features (outputs x tangent points), each with its own coefficient.
class TangentTarget {
 public:
  virtual ~TangentTarget() = default;

  virtual std::int64_t dimension() const = 0;           // d, of an image
  virtual std::int64_t features_per_image() const = 0;  // F
  virtual at::ScalarType dtype() const = 0;

  // <h, h>.
  virtual double squared_norm() const = 0;
  // Called by a solver before each step, for targets that are drawn at random and change between steps.
  virtual void begin_step(std::int64_t /*step*/) {}
  // Images [M, d] -> <h, phi_f(x_j)>, [M, F], a new tensor.
  virtual Tensor inner(const Tensor& images, Smoothing relu) = 0;
  // Images [M, d] -> <phi_f(x_i), phi_g(x_j)>, [M F, M F], image-major.
  virtual Tensor gram(const Tensor& images, Smoothing relu) = 0;
  // Its first rows, those of `count` images: [count F, M F].
  virtual Tensor gram_of_first(std::int64_t count, const Tensor& images, Smoothing relu) {
    return gram(images, relu).narrow(0, 0, count * features_per_image());
  }

  // ||h - sum_jf a_jf phi_f(x_j)||^2 and its gradients. The tensors live in the target and are overwritten by the next
  // call.
  struct Loss {
    double value = 0;
    Tensor by_images;        // [M, d]
    Tensor by_coefficients;  // [M, F]
  };
  virtual const Loss& loss(const Tensor& images, const Tensor& coefficients, Smoothing relu) = 0;

  // From now on loss() is the part of h that these images [K, d] and the given ones do not explain together, at the
  // best coefficients of these: min over c of ||h - sum_kf c_kf phi_f(held_k) - sum_jf a_jf phi_f(x_j)||^2. With K = 0
  // none are held. Their features are those of the ReLU itself. Throws std::logic_error where a target does not support
  // it.
  virtual void hold(const Tensor& images);
};

// The Cholesky factor of the kernel of held images, float64, with a ridge of 1e-6 times its mean diagonal, so that
// coefficients exist for images that are nearly equal.
Tensor held_factor(const Tensor& kernel);

// The best coefficients for fixed images, K a = b, solved in float64 with a ridge of `ridge` times the mean diagonal
// (variable projection, docs/methods.md, section 1). Where the kernel, a matrix of float32 sums, then has no Cholesky
// factor, the ridge is multiplied by ten until it has. Throws c10::Error where a ridge of a tenth of the diagonal is
// not enough, for example for images that are not finite.
struct Projection {
  Tensor coefficients;           // [M, F], float64
  double relative_residual = 1;  // ||h - sum a phi||^2 / ||h||^2 at them, in [0, 1]
};
Projection project(TangentTarget& target, const Tensor& images, Smoothing relu, double ridge = 1e-7);

}  // namespace afterimage
