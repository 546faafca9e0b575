// The binary version of CIFAR-10 and CIFAR-100 (https://www.cs.toronto.edu/~kriz/cifar.html): records of a label, or of
// a coarse and a fine one, and the red, green and blue planes of a picture of 32 x 32.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "models/foundations/array.h"

namespace afterimage {

struct CifarRecords {
  Array images;                      // [n, 32, 32, 3] bytes, n at least 1
  std::vector<std::int64_t> labels;  // [n]; the last of each record
};

// `label_bytes` labels in a record, of which the last is below `classes`. Throws InputError when the size is no
// multiple of a record's, and on a label that is too large.
CifarRecords read_cifar(const std::filesystem::path& path, std::size_t label_bytes, std::int64_t classes);

}  // namespace afterimage
