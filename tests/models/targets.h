// Targets of small problems, and the losses that tests train them with.
#pragma once

#include "models/mlp.h"
#include "models/training.h"

namespace afterimage {

struct LossSetting {
  std::int64_t outputs;
  LossKind loss;
  Parameterization parameterization;
};

// Float32 targets [count, outputs] of images whose labels take turns: -1 and +1 with one output, else one-hot rows.
inline Tensor targets_in_turn(std::int64_t outputs, std::int64_t count) {
  if (outputs == 1) return (at::arange(count).remainder(2) * 2 - 1).to(at::kFloat).unsqueeze(1);
  return at::one_hot(at::arange(count).remainder(outputs), outputs).to(at::kFloat);
}

}  // namespace afterimage
