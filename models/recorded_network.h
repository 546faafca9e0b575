// A network that is known as a computation which autograd records: all that Network asks for follows from its outputs.
#pragma once

#include <memory>

#include "models/network.h"
#include "models/tangent/autograd.h"

namespace afterimage {

// max(z, 0), or softplus where that is smoothed, recorded.
inline Tensor activated(const Tensor& z, Smoothing relu) {
  return relu.is_relu() ? z.relu() : at::softplus(z, relu.beta, softplus_threshold);
}

class RecordedNetwork : public Network {
 public:
  // The function that derivatives are taken of. May outlive the network.
  virtual Recorded recorded() const = 0;

  Tensor evaluate(const Parameters& parameters, const Tensor& images) const final;
  Sloped input_gradient(const Parameters& parameters, const Tensor& images, const Tensor& cotangents) const final;
  Parameters pullback(const Parameters& parameters, const Tensor& images,
                      const std::function<Tensor(const Tensor&)>& cotangents) const final;
  Tensor pushforward(const Parameters& parameters, const Parameters& direction, const Tensor& images) const final;
  std::unique_ptr<TangentTarget> tangents_at(const std::vector<Parameters>& points,
                                             const Parameters& drift) const final;

 protected:
  using Network::Network;
  // For constructors: how many images are worked on at a time, measured at parameters like the network's, or by the
  // bytes that autograd keeps for one image.
  void measure_chunk(const Parameters& parameters);
  void set_chunk(double bytes_of_image);

 private:
  std::int64_t chunk_ = 1;
};

}  // namespace afterimage
