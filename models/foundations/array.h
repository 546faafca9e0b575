// Named arrays as they lie in files: dtype, shape and bytes, without a tensor library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace afterimage {

enum class DType {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  u64,
  i64,
  f8_e4m3fn,  // four formats of 8 bits, as in "FP8 Formats for Deep Learning" (2209.05433) and ONNX's table of them:
  f8_e4m3fnuz,
  f8_e5m2,  // sign, exponent, mantissa; fn: no infinities, uz: no negative zero, whose pattern is NaN
  f8_e5m2fnuz,
  f16,
  bf16,
  f32,
  f64,
  boolean
};

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

// The same values in a dtype that the tensor library has in all its supported releases: 8-bit floats as f32, u16 as
// i32, u32 as i64, u64 as i64 (its largest value stands for all above). Others as they are.
Array widened(Array array);

// Bytes of an array of that shape; null when a size is negative or the product overflows. For shapes from files.
std::optional<std::uint64_t> checked_bytes(const std::vector<std::int64_t>& shape, DType dtype);

// Of floating-point numbers.
bool is_floating(DType dtype);

// What arrays may take together that share bytes of their file.
inline constexpr std::uint64_t most_repeated = 4;
constexpr std::uint64_t most_shared_bytes(std::uint64_t file_bytes) {
  constexpr std::uint64_t always_allowed = 32 << 20;
  return most_repeated * file_bytes + always_allowed;
}

// In file order; names are unique.
using NamedArrays = std::vector<std::pair<std::string, Array>>;

// The first name that is there twice, or nullptr; `name_of` gives an entry's.
template <class Entries, class NameOf>
const std::string* repeated_name(const Entries& entries, NameOf name_of) {
  std::set<std::string_view> seen;
  for (const auto& entry : entries) {
    if (!seen.insert(name_of(entry)).second) return &name_of(entry);
  }
  return nullptr;
}

// The array of that name, or nullptr.
const Array* find(const NamedArrays& arrays, const std::string& name);

// What a file holds beside arrays that can be read. It is named, never built or run.
struct PassedOver {
  std::string name, what;  // e.g. "classes", "text (<U5)"
};

// What a file of arrays holds, in any format.
struct ArrayFile {
  NamedArrays arrays;
  std::vector<PassedOver> passed_over;
  std::vector<std::string> notes;  // which part was chosen, what was taken off names; printable
  // Why the arrays are not the weights that this file is about, as where those are quantized; else empty. A message
  // about the file ends so.
  std::string no_weights;
};

// "left out: a (text), b (numpy.ndarray) and 3 more", or "" where there is nothing.
std::string passed_over_text(const std::vector<PassedOver>& passed_over);

// Throws InputError that names `file` and the first of images and labels that is missing, or of another kind. `set` is
// what needs both, as "a training set".
void require_images_and_labels(const ArrayFile& content, const std::string& set, const std::string& file);

// [n, d] or whatever `shape` says, filled from `values`. Throws std::invalid_argument when the counts differ.
Array array_of(std::vector<std::int64_t> shape, const std::vector<float>& values);
Array array_of(std::vector<std::int64_t> shape, const std::vector<std::int64_t>& values);

}  // namespace afterimage
