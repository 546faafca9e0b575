// Which images are trained on, and which are known not to be.
#pragma once

#include "models/data/labelled_images.h"

namespace afterimage {

// `samples` rows [samples] of the task's rows, drawn at random without replacement, balanced over the task's targets:
// both sides of a binary task and all classes of a multi-class one get the same number, give or take one while they
// last. Throws
// UsageError when there are not so many.
Tensor draw_training_rows(const LabelledImages& all, const Task& task, std::int64_t samples, Generator& random);

// Up to `count` images for the task that have the pixels of no image in `training` [n, ...] (float32 in [0, 1]) and of
// no other control image.
LabelledImages draw_control(const LabelledImages& all, const Task& task, const Tensor& training, std::int64_t count,
                            Generator& random);

// Throws InputError, naming how many, when any image of `control` is one of `training` or a near copy of it: within a
// relative L2 distance of 0.05 (of its difference from the mean of `training`), as after lossy compression.
// Such images in a control set would hide a leak.
void require_disjoint(const Tensor& training, const Tensor& control, const std::string& control_name);

}  // namespace afterimage
