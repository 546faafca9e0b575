#include "audit/pictures.h"

#include "models/foundations/files.h"

namespace afterimage {

Picture picture_of(const Tensor& pixels, const std::vector<std::int64_t>& shape) {
  const Tensor bytes = pixels.mul(255).round().clamp(0, 255).to(at::kByte).contiguous();
  const auto* data = bytes.data_ptr<std::uint8_t>();
  return {static_cast<int>(shape[1]), static_cast<int>(shape[0]), shape.size() == 3 ? static_cast<int>(shape[2]) : 1,
          std::vector<std::uint8_t>(data, data + bytes.numel())};
}

std::string png_of(const Tensor& pixels, const std::vector<std::int64_t>& shape) {
  return base64(encode_png(picture_of(pixels, shape)));
}

}  // namespace afterimage
