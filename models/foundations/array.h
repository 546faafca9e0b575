// Named arrays as they lie in files: dtype, shape and bytes, without a tensor library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace afterimage {

enum class DType { u8, i8, i16, i32, i64, f16, bf16, f32, f64, boolean };

// Bytes of one element.
std::size_t size_of(DType dtype);
// The name that messages and `inspect` use, e.g. "float32".
std::string name_of(DType dtype);

struct Array {
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> bytes;  // row-major, little-endian, size_of(dtype) * elements()

  std::int64_t elements() const;
};

// Bytes of an array of that shape; null when a size is negative or the product overflows. For shapes from files.
std::optional<std::uint64_t> checked_bytes(const std::vector<std::int64_t>& shape, DType dtype);

// In file order; names are unique.
using NamedArrays = std::vector<std::pair<std::string, Array>>;

// The array of that name, or nullptr.
const Array* find(const NamedArrays& arrays, const std::string& name);

// Throws InputError that names `file` and the first of images and labels that is missing. `set` is what needs both, as
// "a training set".
void require_images_and_labels(const NamedArrays& arrays, const std::string& set, const std::string& file);

// [n, d] or whatever `shape` says, filled from `values`. Throws std::invalid_argument when the counts differ.
Array array_of(std::vector<std::int64_t> shape, const std::vector<float>& values);
Array array_of(std::vector<std::int64_t> shape, const std::vector<std::int64_t>& values);

}  // namespace afterimage
