// What every long piece of work is given beside its input.
#pragma once

#include "models/foundations/progress.h"
#include "models/state.h"
#include "models/tensor.h"

namespace afterimage {

struct Job {
  Generator& random;
  Progress& progress;
  StateStore& state;
};

}  // namespace afterimage
