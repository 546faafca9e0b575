// A training set drawn from a source of images, as `train` and an attack without a network both see it.
#pragma once

#include <string>
#include <vector>

#include "audit/run_directory.h"

namespace afterimage {

struct DrawnData {
  TrainingSet training;               // mean taken off
  Tensor targets;                     // [N, C]
  Tensor held_out, held_out_targets;  // others of the task, to measure accuracy on; none are in the training set
  std::vector<std::int64_t> image_shape;
};

// `samples` images of DATA for the task, drawn by the seed. `mean` is taken off: that of the "training" images, of
// "public" ones outside them, or "none". Throws UsageError, InputError.
DrawnData draw_data(const std::string& data, const Task& task, std::int64_t samples, const std::string& mean,
                    std::int64_t seed);

}  // namespace afterimage
