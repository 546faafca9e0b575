#include "models/tensor.h"

#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstring>
#include <optional>

namespace afterimage {

Generator seeded(std::uint64_t seed) { return at::detail::createCPUGenerator(seed); }

namespace {

// Nothing where the tensor library has none in all supported releases.
std::optional<at::ScalarType> scalar_type(DType dtype) {
  switch (dtype) {
    case DType::u8:
      return at::kByte;
    case DType::i8:
      return at::kChar;
    case DType::i16:
      return at::kShort;
    case DType::i32:
      return at::kInt;
    case DType::i64:
      return at::kLong;
    case DType::f16:
      return at::kHalf;
    case DType::bf16:
      return at::kBFloat16;
    case DType::f32:
      return at::kFloat;
    case DType::f64:
      return at::kDouble;
    case DType::boolean:
      return at::kBool;
    default:
      return std::nullopt;
  }
}

}  // namespace

Tensor to_tensor(const Array& array) {
  const auto type = scalar_type(array.dtype);
  if (!type) return to_tensor(widened(array));
  Tensor tensor = at::empty(array.shape, *type);
  if (!array.bytes.empty()) std::memcpy(tensor.data_ptr(), array.bytes.data(), array.bytes.size());
  return tensor;
}

Array to_array(const Tensor& tensor) {
  const Tensor plain = tensor.scalar_type() == at::kDouble || at::isIntegralType(tensor.scalar_type(), false) ||
                               tensor.scalar_type() == at::kBool
                           ? tensor.contiguous()
                           : tensor.to(at::kFloat).contiguous();
  Array array;
  for (const auto dtype :
       {DType::u8, DType::i8, DType::i16, DType::i32, DType::i64, DType::f32, DType::f64, DType::boolean}) {
    if (scalar_type(dtype) == plain.scalar_type()) array.dtype = dtype;
  }
  array.shape = plain.sizes().vec();
  array.bytes.resize(plain.nbytes());
  if (!array.bytes.empty()) std::memcpy(array.bytes.data(), plain.data_ptr(), array.bytes.size());
  return array;
}

std::vector<double> to_doubles(const Tensor& tensor) {
  const Tensor flat = tensor.to(at::kDouble).contiguous();
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

std::string shape_text(at::IntArrayRef shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

}  // namespace afterimage
