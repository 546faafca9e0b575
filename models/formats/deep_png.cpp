#include "models/formats/deep_png.h"

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb/stb_image.h>
#pragma GCC diagnostic pop

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "models/foundations/error.h"

namespace afterimage {

std::vector<std::byte> deep_png_pixels(std::string_view bytes, int channels, const std::string& file) {
  int width = 0, height = 0, own_channels = 0;
  const std::unique_ptr<stbi_us, decltype(&stbi_image_free)> samples(
      stbi_load_16_from_memory(reinterpret_cast<const stbi_uc*>(bytes.data()), static_cast<int>(bytes.size()), &width,
                               &height, &own_channels, channels),
      stbi_image_free);
  if (samples == nullptr) {
    throw InputError(fmt::format("{}: is corrupt ({}); copy it again", file, stbi_failure_reason()));
  }
  std::vector<std::byte> pixels(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) *
                                static_cast<std::size_t>(channels));
  std::transform(samples.get(), samples.get() + pixels.size(), pixels.begin(), [](stbi_us sample) {
    constexpr unsigned largest = 255, half = 32895;
    return static_cast<std::byte>((sample * largest + half) >> 16);
  });
  return pixels;
}

}  // namespace afterimage
