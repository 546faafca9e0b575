// The control set of an audit: images of the task that were never trained on, neither by the network nor by a defence.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "audit/run_directory.h"
#include "models/data/labelled_images.h"

namespace afterimage {

struct ControlRequest {
  std::string data;  // DATA; empty: the source that the training set was drawn from
  std::int64_t count = 1000;
};

// What a defence trained on in place of the training set, of the support set's `file`: pixels [M, d]; undefined where
// `file` is empty. Throws InputError where they do not fit the model.
Tensor support_pixels(const std::string& file, const ModelDescription& model);

struct ControlSet {
  LabelledImages control;
  // Up to 200 more of the same source, drawn after these; of size 0 where it has no more.
  LabelledImages background;
};

// `class_names` and `columns`: of the training images' source. `support`: as support_pixels() gives it. Throws
// InputError: images that do not fit the model or the training set's scale, a set that overlaps with the training set
// by more than a tenth, or too few images.
ControlSet load_control(const ControlRequest& request, const std::string& source,
                        const std::vector<std::string>& class_names, const std::vector<std::string>& columns,
                        const Task& task, const TrainingSet& training, const Tensor& support,
                        const ModelDescription& model, Generator& random);

}  // namespace afterimage
