// Derivatives of outputs by parameters for networks that are known only as a recorded computation, and how many images
// they can be taken of at a time: what autograd keeps for the images of a large network takes most of the memory.
#pragma once

#include <functional>
#include <vector>

#include "models/parameters.h"
#include "models/tangent/target.h"

namespace afterimage {

// f(x; theta), images [n, d] -> [n, C], recorded by autograd where gradients are on. Parameters have the images' dtype.
using Recorded = std::function<Tensor(const std::vector<Tensor>& parameters, const Tensor& images, Smoothing relu)>;

class Differentiated {
 public:
  // The network at `parameters`; those for which `moving` is false are constants (an empty `moving`: none are). Results
  // below have one tensor for each parameter that is not constant, in order.
  Differentiated(Recorded outputs, const Parameters& parameters, const std::vector<bool>& moving = {});

  const std::vector<Tensor>& leaves() const { return leaves_; }
  Tensor outputs(const Tensor& images, Smoothing relu) const;  // recorded, if gradients are on
  // sum_jc coefficients_jc phi_c(x_j), itself recorded if `graph` is set, for a second derivative. Tensors of
  // parameters that the outputs do not depend on are undefined.
  std::vector<Tensor> combined(const Tensor& images, const Tensor& coefficients, Smoothing relu,
                               bool graph = false) const;
  // <direction, phi_c(x_j)>, [n, C]: the change of the outputs along a direction, by two derivatives.
  Tensor along(const std::vector<Tensor>& direction, const Tensor& images, Smoothing relu) const;

 private:
  Recorded outputs_;
  std::vector<Tensor> all_, leaves_;
};

// sum_k <a_k, b_k> without undefined tensors: recorded, zero-dimensional. Undefined where all tensors are.
Tensor sum_of_inner(const std::vector<Tensor>& a, const std::vector<Tensor>& b);

// The peak of bytes in tensors during `work`, beyond those at its start.
double peak_bytes_of(const std::function<void()>& work);

// The number of images, from 1 to `most`, that `work` can be called with to take no more than `budget` bytes: estimated
// from its peaks with one and two images.
std::int64_t images_at_once(std::int64_t most, double budget, const std::function<void(std::int64_t)>& work);

// Ranges [first, first + count) that cover [0, total), each of at most `size`.
struct Range {
  std::int64_t first = 0, count = 0;
};
std::vector<Range> ranges(std::int64_t total, std::int64_t size);

}  // namespace afterimage
