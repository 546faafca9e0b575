// The tangent features phi_c(x_j) = d f_c(x_j) / d theta of some images at one point of parameter space, and the
// derivatives of combinations of them by the images and by the point. Gradient flow is followed and differentiated with
// these. The features themselves are never formed.
#pragma once

#include <functional>

#include "models/parameters.h"

namespace afterimage {

class TangentFeatures {
 public:
  virtual ~TangentFeatures() = default;

  // f(x), [n, C].
  virtual const Tensor& outputs() const = 0;
  // <phi_c(x_i), phi_c'(x_j)> of the first `count` images, [count C, count C], image-major.
  virtual Tensor gram(std::int64_t count) const = 0;
  // sum_jc a_jc phi_c(x_j), for coefficients [n, C].
  virtual Parameters combined(const Tensor& coefficients) const = 0;

  // The gradient by images and parameters of
  //   <direction, sum a_jc phi_c(x_j)> + <gram, K> + <outputs, f>,
  // where direction, coefficients a [n, C] and both weights are held fixed; K is the kernel of the first `count`
  // images, with `gram` [count C, count C] symmetric. `weights` maps <direction, phi_c(x_j)> [n, C], the gradient by a,
  // to both weights.
  struct Weights {
    Tensor gram, outputs;  // outputs [n, C]
  };
  struct Gradient {
    Tensor by_images;  // [n, d]
    Parameters by_parameters;
  };
  virtual Gradient gradient(const Parameters& direction, const Tensor& coefficients,
                            const std::function<Weights(const Tensor&)>& weights) const = 0;
};

}  // namespace afterimage
