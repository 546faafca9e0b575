#include "models/data/preprocessing.h"

#include <fmt/format.h>

#include <charconv>
#include <functional>
#include <new>
#include <numeric>

#include "models/foundations/error.h"

#define STB_IMAGE_RESIZE_IMPLEMENTATION
#define STB_IMAGE_RESIZE_STATIC
#include <stb/stb_image_resize.h>

namespace afterimage {
namespace {

Tensor to_grey(const Tensor& picture, const std::string& file) {
  if (picture.dim() == 2) return picture;
  if (picture.dim() == 3 && picture.size(2) == 1) return picture.squeeze(2);
  if (picture.dim() != 3 || picture.size(2) != 3) {
    throw InputError(file + ": its images do not have three colour channels to make grey; leave out --grey");
  }
  return at::mv(picture.reshape({-1, 3}), at::tensor({0.299F, 0.587F, 0.114F})).reshape(picture.sizes().slice(0, 2));
}

Tensor resized(const Tensor& picture, std::int64_t height, std::int64_t width, const std::string& file) {
  if (picture.dim() < 2) throw InputError(file + ": its images have no height and width to resize; leave out --resize");
  if (picture.size(0) == height && picture.size(1) == width) return picture;
  const Tensor from = picture.contiguous();
  std::vector<std::int64_t> shape = picture.sizes().vec();
  shape[0] = height;
  shape[1] = width;
  Tensor to = at::empty(shape, at::kFloat);
  const int channels = picture.dim() == 3 ? static_cast<int>(picture.size(2)) : 1;
  // The triangle filter is as wide as a pixel of the coarser grid: linear interpolation when enlarging, an average when
  // reducing.
  if (stbir_resize_float_generic(from.data_ptr<float>(), static_cast<int>(from.size(1)), static_cast<int>(from.size(0)),
                                 0, to.data_ptr<float>(), static_cast<int>(width), static_cast<int>(height), 0,
                                 channels, STBIR_ALPHA_CHANNEL_NONE, 0, STBIR_EDGE_CLAMP, STBIR_FILTER_TRIANGLE,
                                 STBIR_COLORSPACE_LINEAR, nullptr) == 0) {
    throw std::bad_alloc();
  }
  return to;
}

}  // namespace

std::pair<std::int64_t, std::int64_t> parse_size(const std::string& text) {
  constexpr std::int64_t longest = 16384;
  const char* end = text.data() + text.size();
  std::int64_t height = 0, width = 0;
  const auto first = std::from_chars(text.data(), end, height);
  if (first.ec == std::errc() && first.ptr != end && *first.ptr == 'x') {
    const auto second = std::from_chars(first.ptr + 1, end, width);
    if (second.ec == std::errc() && second.ptr == end && height >= 1 && width >= 1 && height <= longest &&
        width <= longest) {
      return {height, width};
    }
  }
  throw UsageError(fmt::format("--resize {}: has to be HEIGHTxWIDTH in pixels, as in 32x32", text));
}

Tensor prepared(const Tensor& picture, const Preprocessing& preprocessing, const std::string& file) {
  Tensor result = preprocessing.grey ? to_grey(picture, file) : picture;
  if (preprocessing.size) result = resized(result, preprocessing.size->first, preprocessing.size->second, file);
  const bool same = result.sizes() == picture.sizes() || (result.dim() == 2 && picture.numel() == result.numel());
  return same ? result : result.mul(255).round_().clamp_(0, 255).div_(255);
}

Tensor per_pixel(const Tensor& values, const std::vector<std::int64_t>& image_shape) {
  const std::int64_t pixels =
      std::accumulate(image_shape.begin(), image_shape.end(), std::int64_t{1}, std::multiplies<>());
  Tensor flat = values.to(at::kFloat).reshape({-1});
  if (flat.numel() == pixels) return flat;
  if (flat.numel() == 1) return flat.expand({pixels}).contiguous();
  if (image_shape.size() == 3 && flat.numel() == image_shape[2]) return flat.repeat({pixels / flat.numel()});
  return {};
}

}  // namespace afterimage
