// How two checkpoints of one network differ, and which attacks apply: for `inspect A B`, which needs no data.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/parameters.h"

namespace afterimage {

struct TensorChange {
  std::string name;
  std::vector<std::int64_t> shape;  // in the second file, or in the first where it is only there
  // |B - A| / |A|, infinite where A is zero; nothing where only one file has the tensor, or with another shape.
  std::optional<double> relative;
  bool only_in_first = false;
};

struct CheckpointDifference {
  std::vector<TensorChange> tensors;  // in the order of the second file, then those of the first alone
  std::vector<std::string>
      findings;  // sentences: architecture, what was frozen, the span, capacity, which attacks apply
};

// Throws InputError when the files have no tensor in common.
CheckpointDifference difference_of(const Parameters& initial, const std::string& initial_file,
                                   const Parameters& trained, const std::string& trained_file);

}  // namespace afterimage
