// Networks at many stages of training on a distilled set as it changes, so that the set fits none of them alone (Zhou
// et al., FRePo, NeurIPS 2022, section 3.3).
#pragma once

#include "attacks/solver/adam.h"
#include "defenses/convolutional_network.h"

namespace afterimage {

class NetworkPool {
 public:
  static constexpr std::int64_t longest_turn = 16;  // steps of training after a use, at most
  static constexpr std::int64_t lifetime = 100;     // steps, and then another takes its place

  // `count` networks with initial weights, float32. `network` has to outlive this. `rate` is Adam's.
  NetworkPool(const ConvolutionalNetwork& network, std::int64_t count, double rate, Generator& random);

  std::int64_t size() const { return static_cast<std::int64_t>(members_.size()); }
  std::int64_t age(std::int64_t index) const { return members_[static_cast<std::size_t>(index)].age; }
  const Tensor& parameters(std::int64_t index) const { return members_[static_cast<std::size_t>(index)].parameters; }
  // Trains it on images [M, d] with targets [M, C], squared loss, for a random number of steps from one to the longest
  // turn.
  void train(std::int64_t index, const Tensor& images, const Tensor& targets, Smoothing relu, Generator& random);

  State state() const;
  void restore(const State& state);

 private:
  struct Member {
    Tensor parameters;
    Adam adam;
    std::int64_t age = 0;
  };
  Member fresh(Generator& random) const;

  const ConvolutionalNetwork& network_;
  double rate_;
  std::vector<Member> members_;
};

}  // namespace afterimage
