// A training set drawn from a source of images, as `train` and an attack without a network both see it.
#pragma once

#include <string>
#include <vector>

#include "audit/run_directory.h"

namespace afterimage {

struct DrawnData {
  TrainingSet training;
  Tensor targets;                     // [N, C]
  Tensor held_out, held_out_targets;  // others of the task, to measure accuracy on; none are in the training set
  // Whether the mean that is taken off is that of the training images, or came with the data: a distilled set has that
  // of its originals. A public mean is not: its images are taken to be chosen without a look at the training images.
  bool mean_of_training = false;
};

// How the pictures of DATA become what a network sees.
struct InputRequest {
  std::string mean;  // image taken off: of the "training" images (the default), of "public" ones outside them, "none"
  std::string normalize;  // "MEAN,STD" in place of it: numbers, one or one for each channel with / between them
  Preprocessing preprocessing = {};
};

// `samples` images of DATA for the task, drawn by the seed. Throws UsageError, InputError.
DrawnData draw_data(const std::string& data, const Task& task, std::int64_t samples, const InputRequest& inputs,
                    std::int64_t seed);

}  // namespace afterimage
