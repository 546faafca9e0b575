// Derivatives of outputs by parameters for networks that are known only as a recorded computation, and how many images
// at a time they are taken of: what autograd keeps of a large network's images is what fills the memory.
#pragma once

#include <functional>
#include <vector>

#include "models/parameters.h"
#include "models/tangent/target.h"

namespace afterimage {

// f(x; theta), images [n, d] -> [n, C], as autograd records it where it is asked to. Parameters have the images' dtype.
using Recorded = std::function<Tensor(const std::vector<Tensor>& parameters, const Tensor& images, Smoothing relu)>;

class Differentiated {
 public:
  // The network at `parameters`; those of which `moving` is false are constants (an empty `moving`: none are). What
  // follows has a tensor for each that moves, in order.
  Differentiated(Recorded outputs, const Parameters& parameters, const std::vector<bool>& moving = {});

  const std::vector<Tensor>& leaves() const { return leaves_; }
  Tensor outputs(const Tensor& images, Smoothing relu) const;  // recorded, if gradients are on
  // sum_jc coefficients_jc phi_c(x_j). With `graph`, itself recorded, for a second derivative. Tensors of parameters
  // that the outputs do not depend on are undefined.
  std::vector<Tensor> combined(const Tensor& images, const Tensor& coefficients, Smoothing relu,
                               bool graph = false) const;
  // <direction, phi_c(x_j)>, [n, C]: the change of the outputs along a direction, by two derivatives.
  Tensor along(const std::vector<Tensor>& direction, const Tensor& images, Smoothing relu) const;

 private:
  Recorded outputs_;
  std::vector<Tensor> all_, leaves_;
};

// sum_k <a_k, b_k>, leaving out undefined tensors: recorded, of no dimensions. Undefined where all are.
Tensor sum_of_inner(const std::vector<Tensor>& a, const std::vector<Tensor>& b);

// The most bytes of tensors that were alive at a time during `work`, beyond those at its start.
double peak_bytes_of(const std::function<void()>& work);

// How many images may be worked on at once so that `work`, given a number of them, takes no more than `budget` bytes:
// measured on one and two. From 1 to `most`.
std::int64_t images_at_once(std::int64_t most, double budget, const std::function<void(std::int64_t)>& work);

// [first, first + count) ranges of `total`, each of `size` at most.
struct Range {
  std::int64_t first = 0, count = 0;
};
std::vector<Range> ranges(std::int64_t total, std::int64_t size);

}  // namespace afterimage
