// The choice of training images, and of control images that were not trained on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/data/labelled_images.h"

namespace afterimage {

// `samples` of the task's rows, [samples], drawn at random without replacement and balanced across the targets: both
// sides of a binary task and all classes of a multi-class one have the same number of rows, give or take one, while
// they have enough. Throws UsageError when there are fewer rows than `samples`, or none at all on a side of the task
// (Task::require_sides; the targets of a distilled set may leave one out).
Tensor draw_training_rows(const LabelledImages& all, const Task& task, std::int64_t samples, Generator& random);

// Up to `count` images for the task, all different, and none with the same pixels as an image in `training` [n, ...]
// (float32 in [0, 1]).
LabelledImages draw_control(const LabelledImages& all, const Task& task, const Tensor& training, std::int64_t count,
                            Generator& random);

// Copies are images within a relative L2 distance of 0.05 of a training image (of its difference from the mean of
// `training`), as after lossy compression. They would hide what leaks.
struct Disjoint {
  LabelledImages kept;
  std::vector<std::int64_t> dropped;  // rows of the control set, the first is 0
};
// The control set without training images [n, ...] and copies of them. Throws InputError, with their number, where they
// are more than a tenth of it: it is then not a control set.
Disjoint without_copies(const Tensor& training, LabelledImages control, const std::string& control_name);

// The control set without these images [n, ...] and near copies of them, however many.
Disjoint without_images(const Tensor& images, LabelledImages control);

}  // namespace afterimage
