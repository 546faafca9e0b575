// NumPy archives: a zip of .npy members (format versions 1 to 3), read and written.
//
// A member's shape is checked against its size in the archive, and that against the size of the file (zip_archive.h),
// before anything is allocated. Members that are no numbers are passed over unread: object arrays, which are pickles,
// text, dates, structured and complex arrays.
#pragma once

#include <filesystem>

#include "models/foundations/array.h"

namespace afterimage {

// Members without their ".npy" ending, which may have folders. Column-major members are turned into row-major ones, and
// big-endian into little-endian ones; longdouble becomes float64. "V2" is what numpy.savez makes of ml_dtypes'
// bfloat16. Throws InputError.
ArrayFile read_npz_file(const std::filesystem::path& path);
NamedArrays read_npz(const std::filesystem::path& path);  // its arrays alone

// At least one array. Deflated; written to a temporary name and renamed. The bytes depend on the arrays alone (no time
// stamps).
void write_npz(const std::filesystem::path& path, const NamedArrays& arrays);

}  // namespace afterimage
