// The choice of training images, and of control images that were not trained on.
#pragma once

#include "models/data/labelled_images.h"

namespace afterimage {

// `samples` of the task's rows, [samples], drawn at random without replacement and balanced across the targets: both
// sides of a binary task and all classes of a multi-class one have the same number of rows, give or take one, while
// they have enough. Throws UsageError when there are fewer rows than `samples`.
Tensor draw_training_rows(const LabelledImages& all, const Task& task, std::int64_t samples, Generator& random);

// Up to `count` images for the task, all different, and none with the same pixels as an image in `training` [n, ...]
// (float32 in [0, 1]).
LabelledImages draw_control(const LabelledImages& all, const Task& task, const Tensor& training, std::int64_t count,
                            Generator& random);

// Throws InputError, with their number, when images of `control` are training images or near copies of them: within a
// relative L2 distance of 0.05 (of its difference from the mean of `training`), as after lossy compression. Such images
// in a control set would hide what leaks.
void require_disjoint(const Tensor& training, const Tensor& control, const std::string& control_name);

}  // namespace afterimage
