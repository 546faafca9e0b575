// Pictures as PNG: single ones for the page, and a sheet of originals beside reconstructions.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace afterimage {

// 8-bit pixels, row-major, channels interleaved: 1 (grey) or 3 (red, green, blue).
struct Picture {
  int width = 0, height = 0, channels = 1;
  std::vector<std::uint8_t> pixels;
};

// Throws std::invalid_argument when the pixels do not fill the picture.
std::string encode_png(const Picture& picture);

// Pairs (original, reconstruction) of equal size, side by side, in rows of `columns` pairs, enlarged by whole factors.
std::string contact_sheet(const std::vector<std::pair<Picture, Picture>>& pairs, int columns = 5);

}  // namespace afterimage
