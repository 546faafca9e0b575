#include "defenses/network_pool.h"

#include <string>

namespace afterimage {

NetworkPool::NetworkPool(const ConvolutionalNetwork& network, std::int64_t count, double rate, Generator& random)
    : network_(network), rate_(rate) {
  for (std::int64_t i = 0; i < count; ++i) members_.push_back(fresh(random));
}

NetworkPool::Member NetworkPool::fresh(Generator& random) const {
  const Tensor parameters = network_.initial(random, at::kFloat);
  return {parameters, Adam(parameters)};
}

void NetworkPool::train(std::int64_t index, const Tensor& images, const Tensor& targets, Smoothing relu,
                        Generator& random) {
  Member& member = members_[static_cast<std::size_t>(index)];
  const std::int64_t steps = at::randint(1, longest_turn + 1, {1}, random, at::kLong).item<std::int64_t>();
  for (std::int64_t step = 0; step < steps; ++step) {
    member.adam.step(member.parameters, squared_loss_gradient(network_, member.parameters, images, targets, relu),
                     rate_);
  }
  member.age += steps;
  if (member.age >= lifetime) member = fresh(random);
}

State NetworkPool::state() const {
  State all;
  for (std::size_t i = 0; i < members_.size(); ++i) {
    all.set(std::to_string(i), State()
                                   .set("parameters", members_[i].parameters)
                                   .set("adam", members_[i].adam.state())
                                   .set("age", members_[i].age));
  }
  return all;
}

void NetworkPool::restore(const State& state) {
  for (std::size_t i = 0; i < members_.size(); ++i) {
    const State kept = state.part(std::to_string(i));
    members_[i].parameters = kept.tensor("parameters");
    members_[i].adam.restore(kept.part("adam"));
    members_[i].age = kept.whole("age");
  }
}

}  // namespace afterimage
