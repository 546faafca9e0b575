// The IDX format of the MNIST family, plain or gzip-compressed (told apart by content, not by name).
#pragma once

#include <filesystem>

#include "models/foundations/array.h"

namespace afterimage {

// An unsigned-byte IDX file of any rank (images rank 3, labels rank 1). The payload has to be exactly as long as the
// shape says; a gzip stream is never inflated past that. Throws InputError otherwise.
Array read_idx(const std::filesystem::path& path);

}  // namespace afterimage
