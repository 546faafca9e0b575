// NumPy archives: a zip of .npy members (format versions 1 to 3), read and written.
//
// Object arrays are refused (they are pickles), and a member's shape is checked against its size in the archive, and
// that against the size of the file (zip_archive.h), before anything is allocated.
#pragma once

#include <filesystem>

#include "models/foundations/array.h"

namespace afterimage {

// Members without their ".npy" ending. Column-major members are turned into row-major ones; big-endian is refused.
// Throws InputError.
NamedArrays read_npz(const std::filesystem::path& path);

// At least one array. Deflated; written to a temporary name and renamed. The bytes depend on the arrays alone (no time
// stamps).
void write_npz(const std::filesystem::path& path, const NamedArrays& arrays);

}  // namespace afterimage
