// Whole files, of which PNG files with corrected checksums, without which the fuzzer would not get past them; and the
// rows of a picture in an otherwise valid PNG file.
#include <zlib.h>

#include "models/formats/image_file.h"
#include "tests/formats/png.h"
#include "tests/fuzz/fuzz.h"

using namespace afterimage;

namespace {

void read_as(std::string_view bytes, const char* extension) {
  test::read_bytes(
      bytes, [](const std::filesystem::path& path) { read_image(path); }, extension);
}

// The file with the right checksum after each of its chunks.
std::string mended(std::string_view file) {
  std::string bytes(file);
  constexpr std::size_t around = 12;  // a chunk's length and name, and its checksum
  for (std::size_t at = test::png_signature.size(); at + around <= bytes.size();) {
    const std::size_t length = test::big_endian_in(bytes, at);
    if (length > bytes.size() - at - around) break;
    const std::string body = bytes.substr(at + 4, 4 + length);
    bytes.replace(at + 8 + length, 4, test::big_endian(test::checksum(body)));
    at += around + length;
  }
  return bytes;
}

// A small picture whose header the first bytes decide, with the rest as palette and rows.
std::string picture_of(std::string_view bytes) {
  constexpr std::size_t header = 6, palette = 48;
  if (bytes.size() < header + palette) return {};
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const std::uint32_t width = 1 + at(0) % 64U, height = 1 + at(1) % 64U;
  const auto depth = static_cast<char>(1U << (at(2) % 5U)), kind = static_cast<char>(at(3) % 8U),
             interlaced = static_cast<char>(at(4) % 2U);
  const std::string extra =
      test::png_chunk("PLTE", std::string(bytes.substr(header, palette))) +
      (at(5) % 2U == 0 ? "" : test::png_chunk("tRNS", std::string(bytes.substr(header, at(5) % 17U))));
  return test::png(width, height, std::string(bytes.substr(header + palette)), depth, kind, extra, interlaced);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = test::view(data, size);
  if (bytes.starts_with(test::png_signature)) {
    read_as(bytes, ".png");
    read_as(mended(bytes), ".png");
  } else if (bytes.starts_with("\xff\xd8\xff")) {
    read_as(bytes, ".jpg");
  } else {
    read_as(picture_of(bytes), ".png");
  }
  return 0;
}
