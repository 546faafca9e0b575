#include "models/foundations/array.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "models/foundations/error.h"
#include "models/foundations/text.h"

namespace afterimage {

std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::u8:
    case DType::i8:
    case DType::boolean:
    case DType::f8_e4m3fn:
    case DType::f8_e4m3fnuz:
    case DType::f8_e5m2:
    case DType::f8_e5m2fnuz:
      return 1;
    case DType::u16:
    case DType::i16:
    case DType::f16:
    case DType::bf16:
      return 2;
    case DType::u32:
    case DType::i32:
    case DType::f32:
      return 4;
    case DType::u64:
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
    case DType::u16:
      return "uint16";
    case DType::u32:
      return "uint32";
    case DType::u64:
      return "uint64";
    case DType::f8_e4m3fn:
      return "float8_e4m3fn";
    case DType::f8_e4m3fnuz:
      return "float8_e4m3fnuz";
    case DType::f8_e5m2:
      return "float8_e5m2";
    case DType::f8_e5m2fnuz:
      return "float8_e5m2fnuz";
    case DType::boolean:
      return "bool";
  }
  throw std::logic_error("unknown dtype");
}

namespace {

// One byte: a sign, `exponent_bits` biased by `bias`, the rest mantissa.
struct Float8 {
  int exponent_bits, bias;
  bool infinities;        // else the largest exponent is one of numbers, and only all ones is NaN
  bool no_negative_zero;  // its pattern is the only NaN

  float value(std::uint8_t byte) const {
    constexpr float nan = std::numeric_limits<float>::quiet_NaN();
    const int mantissa_bits = 7 - exponent_bits, magnitude = byte & 0x7f;
    const int exponent = magnitude >> mantissa_bits, mantissa = magnitude & ((1 << mantissa_bits) - 1);
    const int largest = (1 << exponent_bits) - 1;
    const float sign = (byte & 0x80) != 0 ? -1.0F : 1.0F;
    if (no_negative_zero) {
      if (byte == 0x80) return nan;
    } else if (infinities) {
      if (exponent == largest) return mantissa == 0 ? sign * std::numeric_limits<float>::infinity() : nan;
    } else if (magnitude == 0x7f) {
      return nan;
    }
    const int whole = exponent == 0 ? mantissa : mantissa + (1 << mantissa_bits);
    return sign * std::ldexp(static_cast<float>(whole), std::max(exponent, 1) - bias - mantissa_bits);
  }
};

// Each element of `array` as a To.
template <class From, class To, class Convert>
Array converted(const Array& array, DType dtype, const Convert& convert) {
  Array result{dtype, array.shape, std::vector<std::byte>(array.bytes.size() / sizeof(From) * sizeof(To))};
  for (std::size_t i = 0; i < array.bytes.size() / sizeof(From); ++i) {
    From from;
    std::memcpy(&from, array.bytes.data() + i * sizeof(From), sizeof(From));
    const To to = convert(from);
    std::memcpy(result.bytes.data() + i * sizeof(To), &to, sizeof(To));
  }
  return result;
}

}  // namespace

Array widened(Array array) {
  const auto as_float = [&](const Float8& format) {
    return converted<std::uint8_t, float>(array, DType::f32, [&](std::uint8_t byte) { return format.value(byte); });
  };
  switch (array.dtype) {
    case DType::f8_e4m3fn:
      return as_float({4, 7, false, false});
    case DType::f8_e4m3fnuz:
      return as_float({4, 8, false, true});
    case DType::f8_e5m2:
      return as_float({5, 15, true, false});
    case DType::f8_e5m2fnuz:
      return as_float({5, 16, false, true});
    case DType::u16:
      return converted<std::uint16_t, std::int32_t>(array, DType::i32, [](std::uint16_t v) { return v; });
    case DType::u32:
      return converted<std::uint32_t, std::int64_t>(array, DType::i64, [](std::uint32_t v) { return v; });
    case DType::u64: {
      constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
      return converted<std::uint64_t, std::int64_t>(
          array, DType::i64, [most](std::uint64_t v) { return static_cast<std::int64_t>(std::min(v, most)); });
    }
    default:
      return array;
  }
}

bool is_floating(DType dtype) {
  switch (dtype) {
    case DType::f8_e4m3fn:
    case DType::f8_e4m3fnuz:
    case DType::f8_e5m2:
    case DType::f8_e5m2fnuz:
    case DType::f16:
    case DType::bf16:
    case DType::f32:
    case DType::f64:
      return true;
    default:
      return false;
  }
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

std::string passed_over_text(const std::vector<PassedOver>& passed_over) {
  constexpr std::size_t shown = 6;
  if (passed_over.empty()) return "";
  std::vector<std::string> texts;
  for (const auto& [name, what] : passed_over)
    texts.push_back(fmt::format("{} ({})", printable(name), printable(what)));
  return "left out: " + listed(texts, shown);
}

void require_images_and_labels(const ArrayFile& content, const std::string& set, const std::string& file) {
  for (const std::string name : {"images", "labels"}) {
    if (find(content.arrays, name) != nullptr) continue;
    for (const auto& other : content.passed_over) {
      if (other.name != name) continue;
      throw InputError(fmt::format("{}: {} are {}; write them as numbers{}", file, name, printable(other.what),
                                   name == "labels" ? ", one class from 0 up for each image" : ""));
    }
    throw InputError(fmt::format("{}: has no array named {}; {} needs images and labels", file, name, set));
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
