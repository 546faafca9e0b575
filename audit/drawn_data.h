// A training set drawn from a source of images, for `train`, and for attacks on networks of infinite width.
#pragma once

#include <string>
#include <vector>

#include "audit/canaries.h"

namespace afterimage {

struct DrawnData {
  TrainingSet training;
  Tensor targets;                     // [N, C]
  Tensor held_out, held_out_targets;  // other images of the task, to measure the test accuracy on
  Tensor others, others_targets;      // [P, d], [P, C], images of the task that are in neither
  // Whether the mean that is subtracted is that of the training images, or came with the data: a distilled set has that
  // of its original images. A public mean is not: its images are chosen independently of the training images.
  bool mean_of_training = false;
  Canaries canaries;                                     // of which those that are in are training images
  std::vector<std::string> notes, class_names, columns;  // of the source (LabelledImages)
};

// How the pictures of DATA become inputs.
struct InputRequest {
  std::string mean;  // what is subtracted: the mean of "training" images (the default), of other, "public" ones, "none"
  std::string normalize;  // "MEAN,STD" in place of it: each one number, or one for each channel separated by /
  Preprocessing preprocessing = {};
  std::int64_t canaries = 0;  // records that are put into the training set by a coin each, beside the samples
};

// `samples` images of DATA for the task, drawn at random from the seed. Throws UsageError, InputError.
DrawnData draw_data(const std::string& data, const Task& task, std::int64_t samples, const InputRequest& inputs,
                    std::int64_t seed);
// The same of images that were loaded from it.
DrawnData draw_data(const LabelledImages& all, const std::string& data, const Task& task, std::int64_t samples,
                    const InputRequest& inputs, std::int64_t seed);
// Throws UsageError on options that do not fit each other, or a number of samples below one.
void require_drawable(std::int64_t samples, const InputRequest& inputs);

}  // namespace afterimage
