// An element h of a tangent feature space, known only through inner products.
//
// Reconstruction asks which few images x_j with coefficients a_j make sum_j a_j phi(x_j) equal to h. Every regime
// (finite width, several points of the training path, infinite width) is one class behind this interface, so that the
// loss and its solver are written once (docs/methods.md, section 1).
#pragma once

#include <limits>

#include "models/tensor.h"

namespace afterimage {

// The ReLU max(z, 0), or softplus(beta z) / beta in its place while searching: with the kink smoothed, images move.
struct Smoothing {
  double beta = std::numeric_limits<double>::infinity();  // infinity: the ReLU itself
  bool is_relu() const { return beta == std::numeric_limits<double>::infinity(); }
};

// s(z) into h and s'(z) into slope, all of one shape and dtype, without a temporary where z is smoothed.
void activate(const Tensor& z, Smoothing relu, Tensor h, Tensor slope);

// Each image has F features (outputs x tangent points), each with a coefficient of its own.
class TangentTarget {
 public:
  virtual ~TangentTarget() = default;

  virtual std::int64_t dimension() const = 0;           // d, of an image
  virtual std::int64_t features_per_image() const = 0;  // F
  virtual at::ScalarType dtype() const = 0;

  // <h, h>.
  virtual double squared_norm() const = 0;
  // A solver is about to take this step: a target that is drawn anew from time to time is drawn by it.
  virtual void begin_step(std::int64_t /*step*/) {}
  // Images [M, d] -> <h, phi_f(x_j)>, [M, F], the caller's own.
  virtual Tensor inner(const Tensor& images, Smoothing relu) = 0;
  // Images [M, d] -> <phi_f(x_i), phi_g(x_j)>, [M F, M F], image-major.
  virtual Tensor gram(const Tensor& images, Smoothing relu) = 0;

  // ||h - sum_jf a_jf phi_f(x_j)||^2 and its gradients. The tensors live in the target and are overwritten by the next
  // call.
  struct Loss {
    double value = 0;
    Tensor by_images;        // [M, d]
    Tensor by_coefficients;  // [M, F]
  };
  virtual const Loss& loss(const Tensor& images, const Tensor& coefficients, Smoothing relu) = 0;

  // From now on loss() is what these images [K, d] and the given ones leave of h together, at the best coefficients for
  // these: min over c of ||h - sum_kf c_kf phi_f(held_k) - sum_jf a_jf phi_f(x_j)||^2. No images: none are held. Their
  // features are those of the ReLU itself. Throws std::logic_error where a target cannot.
  virtual void hold(const Tensor& images);
};

// The Cholesky factor of the kernel of images that are held, float64, with a ridge of 1e-6 times its mean diagonal:
// held images that are nearly alike have coefficients too.
Tensor held_factor(Tensor kernel);

// The best coefficients for fixed images, K a = b, solved in float64 with a ridge of `ridge` times the mean diagonal
// (variable projection, docs/methods.md, section 1), or of the least larger power of ten of that with which the kernel,
// which is of float32 sums, has a Cholesky factor. Throws c10::Error where none up to a tenth of the diagonal gives it
// one, as of images that are not finite.
struct Projection {
  Tensor coefficients;           // [M, F], float64
  double relative_residual = 1;  // ||h - sum a phi||^2 / ||h||^2 at them, in [0, 1]
};
Projection project(TangentTarget& target, const Tensor& images, Smoothing relu, double ridge = 1e-7);

}  // namespace afterimage
