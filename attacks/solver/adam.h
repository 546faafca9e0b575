// Adam (Kingma & Ba 2015) on one tensor, in place and without allocation after the first step.
#pragma once

#include <cmath>

#include "models/state.h"

namespace afterimage {

class Adam {
 public:
  // `epsilon` has to be small against the gradients' entries, or it shortens the steps.
  explicit Adam(const Tensor& parameter, double epsilon = 1e-8)
      : epsilon_(epsilon),
        first_(at::zeros_like(parameter)),
        second_(at::zeros_like(parameter)),
        scratch_(at::empty_like(parameter)) {}

  void step(Tensor& parameter, const Tensor& gradient, double rate) { parameter.add_(direction(gradient), -rate); }
  // A rate of its own for each row, [M, 1].
  void step(Tensor& parameter, const Tensor& gradient, const Tensor& rates) {
    parameter.sub_(direction(gradient).mul_(rates));
  }

  State state() const { return State().set("first", first_).set("second", second_).set("steps", steps_); }
  void restore(const State& state) {
    first_ = state.tensor("first");
    second_ = state.tensor("second");
    steps_ = state.number("steps");
  }

 private:
  Tensor& direction(const Tensor& gradient) {
    ++steps_;
    first_.mul_(beta1).add_(gradient, 1 - beta1);
    second_.mul_(beta2).addcmul_(gradient, gradient, 1 - beta2);
    const double bias1 = 1 - std::pow(beta1, steps_), bias2 = 1 - std::pow(beta2, steps_);
    at::sqrt_out(scratch_, second_);
    scratch_.mul_(1 / std::sqrt(bias2)).add_(epsilon_);
    return at::div_out(scratch_, first_, scratch_).mul_(1 / bias1);
  }

  static constexpr double beta1 = 0.9, beta2 = 0.999;
  double epsilon_;
  Tensor first_, second_, scratch_;
  double steps_ = 0;
};

}  // namespace afterimage
