#include "models/foundations/array.h"

#include <fmt/format.h>

#include <cstring>
#include <stdexcept>

#include "models/foundations/error.h"

namespace afterimage {

std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::u8:
    case DType::i8:
    case DType::boolean:
      return 1;
    case DType::i16:
    case DType::f16:
    case DType::bf16:
      return 2;
    case DType::i32:
    case DType::f32:
      return 4;
    case DType::i64:
    case DType::f64:
      return 8;
  }
  throw std::logic_error("unknown dtype");
}

std::string name_of(DType dtype) {
  switch (dtype) {
    case DType::u8:
      return "uint8";
    case DType::i8:
      return "int8";
    case DType::i16:
      return "int16";
    case DType::i32:
      return "int32";
    case DType::i64:
      return "int64";
    case DType::f16:
      return "float16";
    case DType::bf16:
      return "bfloat16";
    case DType::f32:
      return "float32";
    case DType::f64:
      return "float64";
    case DType::boolean:
      return "bool";
  }
  throw std::logic_error("unknown dtype");
}

std::int64_t Array::elements() const {
  std::int64_t count = 1;
  for (const auto size : shape) count *= size;
  return count;
}

std::optional<std::uint64_t> checked_bytes(const std::vector<std::int64_t>& shape, DType dtype) {
  std::uint64_t bytes = size_of(dtype);
  bool empty = false;
  for (const auto size : shape) {
    if (size < 0) return std::nullopt;
    if (size == 0) {
      empty = true;
    } else if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(size), &bytes)) {
      return std::nullopt;
    }
  }
  return empty ? 0 : bytes;
}

const Array* find(const NamedArrays& arrays, const std::string& name) {
  for (const auto& [other, array] : arrays) {
    if (other == name) return &array;
  }
  return nullptr;
}

void require_images_and_labels(const NamedArrays& arrays, const std::string& set, const std::string& file) {
  for (const char* name : {"images", "labels"}) {
    if (find(arrays, name) == nullptr) {
      throw InputError(fmt::format("{}: has no array named {}; {} needs images and labels", file, name, set));
    }
  }
}

namespace {

template <class T>
Array make_array(DType dtype, std::vector<std::int64_t> shape, const std::vector<T>& values) {
  Array array{dtype, std::move(shape), std::vector<std::byte>(values.size() * sizeof(T))};
  if (array.elements() != static_cast<std::int64_t>(values.size())) {
    throw std::invalid_argument("array_of: the shape does not fit the number of values");
  }
  std::memcpy(array.bytes.data(), values.data(), array.bytes.size());
  return array;
}

}  // namespace

Array array_of(std::vector<std::int64_t> shape, const std::vector<float>& values) {
  return make_array(DType::f32, std::move(shape), values);
}
Array array_of(std::vector<std::int64_t> shape, const std::vector<std::int64_t>& values) {
  return make_array(DType::i64, std::move(shape), values);
}

}  // namespace afterimage
