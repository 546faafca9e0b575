// AdaBelief (Zhuang et al., NeurIPS 2020, algorithm 2) on one tensor, in place: Adam with the square of the
// gradient's deviation from its running mean in place of the gradient's own square.
#pragma once

#include <cmath>

#include "models/state.h"

namespace afterimage {

class AdaBelief {
 public:
  explicit AdaBelief(const Tensor& parameter)
      : expected_(at::zeros_like(parameter)), surprise_(at::zeros_like(parameter)) {}

  void step(Tensor& parameter, const Tensor& gradient, double rate) {
    ++steps_;
    expected_.mul_(beta1).add_(gradient, 1 - beta1);
    surprise_.mul_(beta2).add_((gradient - expected_).square_(), 1 - beta2).add_(epsilon);
    const double bias1 = 1 - std::pow(beta1, steps_), bias2 = 1 - std::pow(beta2, steps_);
    parameter.addcdiv_(expected_, (surprise_ / bias2).sqrt_().add_(epsilon), -rate / bias1);
  }

  State state() const { return State().set("expected", expected_).set("surprise", surprise_).set("steps", steps_); }
  void restore(const State& state) {
    expected_ = state.tensor("expected");
    surprise_ = state.tensor("surprise");
    steps_ = state.number("steps");
  }

 private:
  static constexpr double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-16;
  Tensor expected_, surprise_;
  double steps_ = 0;
};

}  // namespace afterimage
