// PNG files put together by hand, chunk by chunk.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "tests/formats/bytes.h"
#include "tests/formats/deflated.h"

namespace afterimage::test {

inline constexpr std::string_view png_signature = "\x89PNG\r\n\x1a\n";

inline std::uint32_t big_endian_in(std::string_view bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = (value << 8) | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

// Of a chunk's name and data.
inline std::uint32_t checksum(const std::string& body) {
  return static_cast<std::uint32_t>(
      crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size())));
}

inline std::string png_chunk(const std::string& name, const std::string& data) {
  return big_endian(static_cast<std::uint32_t>(data.size())) + name + data + big_endian(checksum(name + data));
}

// `rows` as they are to be inflated: each begins with the number of its filter. `before` are chunks ahead of them.
inline std::string png(std::uint32_t width, std::uint32_t height, const std::string& rows, char depth = 8,
                       char kind = 0, const std::string& before = "", char interlaced = 0) {
  constexpr int zlib_window = 15;
  const std::string header = big_endian(width) + big_endian(height) + std::string{depth, kind, 0, 0, interlaced};
  return std::string(png_signature) + png_chunk("IHDR", header) + before +
         png_chunk("IDAT", deflated(rows, zlib_window)) + png_chunk("IEND", "");
}

}  // namespace afterimage::test
