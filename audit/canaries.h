// Canaries: mislabelled records that are put into the training set by a fair coin each. An audit of them alone bounds
// epsilon in one run of training (models/foundations/privacy_bounds.h).
#pragma once

#include <filesystem>
#include <utility>

#include "audit/run_directory.h"
#include "models/data/labelled_images.h"

namespace afterimage {

inline constexpr const char* canaries_file = "canaries.npz";  // in a run directory

struct Canaries {
  Tensor images;    // [K, d] as the network sees them
  Tensor labels;    // [K] int64, wrong ones
  Tensor included;  // [K] bool

  std::int64_t size() const { return images.defined() ? images.size(0) : 0; }
  // Images and labels of those that are in, or out.
  std::pair<Tensor, Tensor> part(bool in) const;
};

// A label for each of `records` whose target is another than its own's, and a fair coin for each. Images are those of
// `inputs` [K, d]. Throws UsageError where the task has one class.
Canaries make_canaries(const LabelledImages& records, const Tensor& inputs, const Tensor& classes, const Task& task,
                       Generator& random);

void write_canaries(const std::filesystem::path& file, const Canaries& canaries);
// Throws InputError where the file is malformed, or its coins do not fit the training set: one that is in is no row of
// it, or one that is out is.
Canaries read_canaries(const std::filesystem::path& file, const TrainingSet& training);

}  // namespace afterimage
