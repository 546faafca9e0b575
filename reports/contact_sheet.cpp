#include "reports/contact_sheet.h"

#include <algorithm>
#include <stdexcept>

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#include <stb/stb_image_write.h>

namespace afterimage {
namespace {

constexpr int smallest_side = 84;  // pictures are enlarged to at least this
constexpr int gutter = 6;
constexpr std::uint8_t paper = 245;

void paste(Picture& sheet, const Picture& picture, int left, int top, int factor) {
  for (int y = 0; y < picture.height * factor; ++y) {
    for (int x = 0; x < picture.width * factor; ++x) {
      const int from = ((y / factor) * picture.width + x / factor) * picture.channels;
      const int to = ((top + y) * sheet.width + left + x) * 3;
      for (int c = 0; c < 3; ++c) sheet.pixels[to + c] = picture.pixels[from + std::min(c, picture.channels - 1)];
    }
  }
}

}  // namespace

std::string encode_png(const Picture& picture) {
  const auto size = static_cast<std::size_t>(picture.width) * static_cast<std::size_t>(picture.height) *
                    static_cast<std::size_t>(picture.channels);
  if (picture.width < 1 || picture.height < 1 || picture.pixels.size() != size) {
    throw std::invalid_argument("encode_png: the pixels do not fill the picture");
  }
  std::string png;
  const auto append = [](void* context, void* data, int count) {
    static_cast<std::string*>(context)->append(static_cast<const char*>(data), static_cast<std::size_t>(count));
  };
  stbi_write_png_to_func(append, &png, picture.width, picture.height, picture.channels, picture.pixels.data(),
                         picture.width * picture.channels);
  return png;
}

std::string contact_sheet(const std::vector<std::pair<Picture, Picture>>& pairs, int columns) {
  if (pairs.empty()) throw std::invalid_argument("contact_sheet: no pictures");
  const auto& first = pairs.front().first;
  const int factor = std::max(1, (smallest_side + first.width - 1) / first.width);
  const int width = first.width * factor, height = first.height * factor;
  const int across = std::min(columns, static_cast<int>(pairs.size()));
  const int down = (static_cast<int>(pairs.size()) + across - 1) / across;
  const int cell_width = 2 * width + 2 * gutter, cell_height = height + gutter;
  Picture sheet{across * cell_width + gutter, down * cell_height + gutter, 3, {}};
  sheet.pixels.assign(static_cast<std::size_t>(sheet.width) * static_cast<std::size_t>(sheet.height) * 3, paper);
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const int left = gutter + static_cast<int>(i) % across * cell_width,
              top = gutter + static_cast<int>(i) / across * cell_height;
    paste(sheet, pairs[i].first, left, top, factor);
    paste(sheet, pairs[i].second, left + width + 1, top, factor);
  }
  return encode_png(sheet);
}

}  // namespace afterimage
