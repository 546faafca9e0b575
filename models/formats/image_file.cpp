#include "models/formats/image_file.h"

#include <fmt/format.h>
#include <png.h>
#include <turbojpeg.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <new>

#include "models/formats/deep_png.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

constexpr std::uint64_t largest_file = 256 << 20;
constexpr std::uint64_t longest_side = 16384, most_pixels = 1 << 26;
constexpr std::uint64_t most_inflated = 1100;          // deflate reaches at most about 1032 to one
constexpr std::uint64_t most_pixels_in_a_byte = 1024;  // JPEG takes at least one bit for 64 pixels of a component
// Decoded bytes of a JPEG file that are allocated at once; a larger file is first decoded at an eighth of its size.
constexpr std::uint64_t trusted_size = 32 << 20;
// libjpeg holds all coefficients of a JPEG file in several scans, two bytes each.
constexpr std::uint64_t trusted_coefficients = 48 << 20, most_coefficients_of_a_byte = 16;
constexpr std::string_view png_signature = "\x89PNG\r\n\x1a\n", jpeg_signature = "\xff\xd8\xff";

std::string lower_extension(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension;
}

void check_size(std::uint64_t height, std::uint64_t width, const std::string& file) {
  if (height < 1 || width < 1) throw InputError(file + ": has no pixels; leave it out");
  if (height > longest_side || width > longest_side || height * width > most_pixels) {
    throw InputError(
        fmt::format("{}: is {} x {} pixels; pictures may have sides of at most 16384 and at most 64 million pixels",
                    file, height, width));
  }
}

[[noreturn]] void too_few_bytes(std::uint64_t height, std::uint64_t width, std::uint64_t bytes,
                                const std::string& file) {
  throw InputError(
      fmt::format("{}: declares {} x {} pixels, more than its {} bytes can hold", file, height, width, bytes));
}

[[noreturn]] void corrupt(const std::string& file, const std::string& what) {
  throw InputError(fmt::format("{}: is corrupt ({}); copy it again", file, printable(what)));
}

std::uint64_t big_endian(std::string_view bytes, std::size_t at, std::size_t count) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < count; ++i) value = (value << 8) | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

Array grey_or_colour(std::size_t height, std::size_t width, bool colour) {
  Array image{DType::u8, {static_cast<std::int64_t>(height), static_cast<std::int64_t>(width)}, {}};
  if (colour) image.shape.push_back(3);
  return image;
}

// PNG. libpng's simplified interface applies gamma and colour profiles, inflates texts, allocates the picture before it
// decodes any of it, and stops at the last row. So it is given a file that was checked to its end, and of it only the
// chunks that decide pixels.

struct PngHeader {
  std::uint64_t height = 0, width = 0, bits = 0;  // bits: of a pixel
  bool interlaced = false, deep = false;          // deep: 16 bits a sample

  std::uint64_t row_bytes(std::uint64_t columns) const { return 1 + (columns * bits + 7) / 8; }  // the filter's first
};

// Throws InputError when the size is more than the bytes of the file can hold.
PngHeader read_png_header(std::string_view bytes, const std::string& file) {
  constexpr std::size_t begin = png_signature.size(), fields = begin + 8, end = fields + 13;
  if (bytes.size() < end || bytes.substr(begin, 8) != std::string_view("\0\0\0\rIHDR", 8)) {
    corrupt(file, "it does not begin with a PNG header");
  }
  const std::uint64_t width = big_endian(bytes, fields, 4), height = big_endian(bytes, fields + 4, 4);
  const std::uint64_t depth = big_endian(bytes, fields + 8, 1), colour_type = big_endian(bytes, fields + 9, 1);
  check_size(height, width, file);
  constexpr std::array<std::uint64_t, 7> samples = {1, 0, 3, 1, 2, 0, 4};  // of a pixel, by colour type
  if (colour_type >= samples.size() || samples[colour_type] == 0) corrupt(file, "invalid PNG colour type");
  const PngHeader header{height, width, depth * samples[colour_type], bytes[end - 1] != 0, depth == 16};
  if (header.row_bytes(width) * height > most_inflated * bytes.size()) too_few_bytes(height, width, bytes.size(), file);
  return header;
}

constexpr std::size_t around_chunk = 12;  // length and name before its data, the checksum after them

struct PngChunk {
  std::string_view name, data;
  // By the case of the first letter (PNG specification, 5.4).
  bool critical() const { return name[0] >= 'A' && name[0] <= 'Z'; }
  bool named() const {
    return std::all_of(name.begin(), name.end(),
                       [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); });
  }
};

PngChunk chunk_at(std::string_view bytes, std::size_t at, const std::string& file) {
  const std::size_t room = bytes.size() - at;
  if (room < around_chunk || big_endian(bytes, at, 4) > room - around_chunk) corrupt(file, "it ends early");
  return {bytes.substr(at + 4, 4), bytes.substr(at + 8, big_endian(bytes, at, 4))};
}

// Removes chunks that decide no pixels: profiles, gamma, texts, times. In place, for a copy would take the memory of
// the file again. Throws InputError on a wrong checksum, a critical chunk that is not known, chunks out of order, and
// bytes after the last.
void keep_pixel_chunks(std::string& bytes, const std::string& file) {
  std::size_t at = png_signature.size(), kept = at;
  bool data_begun = false, data_ended = false, ended = false;
  while (!ended) {
    const PngChunk chunk = chunk_at(bytes, at, file);
    const std::size_t size = around_chunk + chunk.data.size();
    const auto* named = reinterpret_cast<const Bytef*>(chunk.name.data());
    if (crc32(0, named, static_cast<uInt>(4 + chunk.data.size())) != big_endian(bytes, at + size - 4, 4)) {
      corrupt(file, "wrong checksum of a chunk");
    }
    const bool is_data = chunk.name == "IDAT", known = is_data || chunk.name == "IHDR" || chunk.name == "PLTE";
    ended = chunk.name == "IEND";
    if (!chunk.named()) corrupt(file, fmt::format("invalid chunk type {}", chunk.name));
    if (ended && !chunk.data.empty()) corrupt(file, "data in its end chunk");
    if (chunk.critical() && !known && !ended) corrupt(file, fmt::format("unknown critical chunk {}", chunk.name));
    data_ended = data_ended || (data_begun && !is_data);
    data_begun = data_begun || is_data;
    if (known || ended || chunk.name == "tRNS") {
      if (data_ended && !ended) corrupt(file, fmt::format("chunk {} out of order", chunk.name));
      std::copy_n(bytes.data() + at, size, bytes.data() + kept);
      kept += size;
    }
    at += size;
  }
  if (at != bytes.size()) {
    throw InputError(
        fmt::format("{}: has {} bytes after the end of its picture; save it again", file, bytes.size() - at));
  }
  bytes.resize(kept);
}

// Inflated image data, held against the rows that the header declares: all of them, each with a filter that there is.
class PngRows {
 public:
  PngRows(const PngHeader& header, const std::string& file) : file_(file) {
    if (!header.interlaced) passes_.push_back({header.height, header.row_bytes(header.width)});
    for (int pass = 0; header.interlaced && pass < PNG_INTERLACE_ADAM7_PASSES; ++pass) {
      const std::uint64_t rows = PNG_PASS_ROWS(header.height, pass), columns = PNG_PASS_COLS(header.width, pass);
      if (rows > 0 && columns > 0) passes_.push_back({rows, header.row_bytes(columns)});
    }
  }

  void take(const Bytef* bytes, std::size_t count) {
    constexpr int filters = 5;
    while (count > 0) {
      if (left_ == 0) {
        if (pass_ == passes_.size()) corrupt(file_, "more image data than pixels");
        if (*bytes >= filters) corrupt(file_, "invalid filter of a row");
        left_ = passes_[pass_].row_bytes;
        if (--passes_[pass_].rows == 0) ++pass_;
      }
      const std::size_t step = std::min<std::uint64_t>(left_, count);
      left_ -= step;
      bytes += step;
      count -= step;
    }
  }
  bool complete() const { return left_ == 0 && pass_ == passes_.size(); }

 private:
  struct Pass {
    std::uint64_t rows, row_bytes;
  };
  const std::string& file_;
  std::vector<Pass> passes_;
  std::size_t pass_ = 0;
  std::uint64_t left_ = 0;  // bytes of the row that has begun
};

// Inflates the image data without keeping them. Throws InputError unless they are one whole zlib stream of the rows
// that the header declares.
void check_image_data(std::string_view bytes, const PngHeader& header, const std::string& file) {
  PngRows rows(header, file);
  z_stream zlib{};
  if (inflateInit(&zlib) != Z_OK) throw std::bad_alloc();
  const std::unique_ptr<z_stream, decltype(&inflateEnd)> ended(&zlib, inflateEnd);
  std::array<Bytef, 1 << 15> piece;
  int code = Z_OK;
  PngChunk chunk;
  for (std::size_t at = png_signature.size(); at < bytes.size(); at += around_chunk + chunk.data.size()) {
    chunk = chunk_at(bytes, at, file);
    if (chunk.name != "IDAT") continue;
    zlib.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(chunk.data.data()));
    zlib.avail_in = static_cast<uInt>(chunk.data.size());
    do {
      if (code == Z_STREAM_END && zlib.avail_in > 0) corrupt(file, "bytes after its image data");
      if (code == Z_STREAM_END) break;
      zlib.next_out = piece.data();
      zlib.avail_out = static_cast<uInt>(piece.size());
      code = inflate(&zlib, Z_NO_FLUSH);
      if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR) {
        corrupt(file, zlib.msg != nullptr ? zlib.msg : "its image data do not inflate");
      }
      rows.take(piece.data(), piece.size() - zlib.avail_out);
    } while (zlib.avail_in > 0 || zlib.avail_out == 0);
  }
  if (code != Z_STREAM_END || !rows.complete()) corrupt(file, "its image data end early");
}

// Removes the alpha channel, the last of each pixel's.
void remove_opaque_alpha(std::vector<std::byte>& pixels, std::size_t channels, const std::string& file) {
  const std::size_t kept = channels - 1, count = pixels.size() / channels;
  for (std::size_t i = 0; i < count; ++i) {
    if (pixels[i * channels + kept] != std::byte{255}) {
      throw InputError(file + ": has transparent pixels; save it flattened onto a background, without alpha channel");
    }
    std::copy_n(pixels.data() + i * channels, kept, pixels.data() + i * kept);
  }
  pixels.resize(count * kept);
}

Array read_png(std::string bytes, const std::string& file) {
  const PngHeader header = read_png_header(bytes, file);
  keep_pixel_chunks(bytes, file);
  check_image_data(bytes, header, file);
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  const std::unique_ptr<png_image, decltype(&png_image_free)> ended(&png, png_image_free);
  const auto require = [&](int succeeded) {
    if (succeeded == 0 || png.warning_or_error != 0) corrupt(file, png.message);
  };
  require(png_image_begin_read_from_memory(&png, bytes.data(), bytes.size()));
  const bool colour = (png.format & PNG_FORMAT_FLAG_COLOR) != 0, alpha = (png.format & PNG_FORMAT_FLAG_ALPHA) != 0;
  png.format = (colour ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY) | (alpha ? PNG_FORMAT_FLAG_ALPHA : 0);
  png.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;  // else 16 bits are taken as linear light, and come out brighter
  Array image = grey_or_colour(header.height, header.width, colour);
  if (header.deep && header.interlaced) {
    image.bytes = deep_png_pixels(bytes, static_cast<int>(PNG_IMAGE_PIXEL_CHANNELS(png.format)), file);
  } else {
    image.bytes.resize(PNG_IMAGE_SIZE(png));
    require(png_image_finish_read(&png, nullptr, image.bytes.data(), 0, nullptr));
  }
  if (alpha) remove_opaque_alpha(image.bytes, PNG_IMAGE_PIXEL_CHANNELS(png.format), file);
  return image;
}

// JPEG. TurboJPEG's own header does not say how many scans there are, for which libjpeg may take many times the memory
// of the file, and refuses some ways of sampling that it decodes. So the frame is read here.

struct JpegFrame {
  std::uint64_t height = 0, width = 0, components = 0;
  std::uint64_t coefficients = 0;  // of all components, in whole blocks of 8 x 8
  bool progressive = false;
};

JpegFrame frame_in(std::string_view fields, bool progressive, const std::string& file) {
  constexpr std::size_t before = 6, of_component = 3, block = 8;
  if (fields.size() < before || fields.size() != before + of_component * big_endian(fields, 5, 1)) {
    corrupt(file, "a JPEG frame of the wrong length");
  }
  JpegFrame frame{big_endian(fields, 1, 2), big_endian(fields, 3, 2), big_endian(fields, 5, 1), 0, progressive};
  std::uint64_t widest = 1, tallest = 1;
  const auto sampling = [&](std::size_t i) { return big_endian(fields, before + of_component * i + 1, 1); };
  for (std::size_t i = 0; i < frame.components; ++i) {
    widest = std::max(widest, sampling(i) >> 4);
    tallest = std::max(tallest, sampling(i) & 15);
  }
  const auto blocks = [&](std::uint64_t pixels, std::uint64_t own, std::uint64_t most) {
    return (pixels * own + block * most - 1) / (block * most);
  };
  for (std::size_t i = 0; i < frame.components; ++i) {
    frame.coefficients +=
        blocks(frame.width, sampling(i) >> 4, widest) * blocks(frame.height, sampling(i) & 15, tallest) * block * block;
  }
  return frame;
}

// The frame and whether it comes in several scans, from the segments up to the first scan.
std::pair<JpegFrame, bool> read_jpeg_header(std::string_view bytes, const std::string& file) {
  constexpr unsigned first_frame = 0xc0, last_frame = 0xcf, scan = 0xda;
  JpegFrame frame;
  for (std::size_t at = 2;;) {
    while (at + 1 < bytes.size() && bytes.substr(at, 2) == "\xff\xff") ++at;  // a marker may have them before it
    if (bytes.size() - at < 4) corrupt(file, "it ends early");
    const std::uint64_t marker = big_endian(bytes, at + 1, 1), length = big_endian(bytes, at + 2, 2);
    const bool stands_alone = marker == 0x01 || (marker >= 0xd0 && marker <= 0xd7);  // TEM, RST: no length follows
    if (bytes[at] == '\xff' && stands_alone) {
      at += 2;
      continue;
    }
    if (bytes[at] != '\xff' || length < 2) corrupt(file, "invalid JPEG segment");
    if (length > bytes.size() - at - 2) corrupt(file, "it ends early");
    const std::string_view fields = bytes.substr(at + 4, length - 2);
    // Among the frames' numbers are those of tables: 0xc4 and 0xcc; and one that is reserved.
    const bool is_frame =
        marker >= first_frame && marker <= last_frame && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
    if (is_frame) {
      if (frame.components > 0) corrupt(file, "two JPEG frames");
      frame = frame_in(fields, marker % 4 == 2, file);
    }
    if (marker == scan) {
      if (frame.components == 0 || fields.empty()) corrupt(file, "a JPEG scan without a frame");
      return {frame, frame.progressive || big_endian(fields, 0, 1) < frame.components};
    }
    at += 2 + length;
  }
}

class JpegDecoder {
 public:
  JpegDecoder(std::string_view bytes, const std::string& file) : bytes_(bytes), file_(file) {
    if (turbo_ == nullptr) throw std::bad_alloc();
  }

  // `into` is [height, width, channels], of the file's size or an eighth of it.
  void decode(unsigned char* into, std::uint64_t height, std::uint64_t width, bool colour) const {
    const int failed = tjDecompress2(turbo_.get(), reinterpret_cast<const unsigned char*>(bytes_.data()), bytes_.size(),
                                     into, static_cast<int>(width), 0, static_cast<int>(height),
                                     colour ? TJPF_RGB : TJPF_GRAY, TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS);
    if (failed != 0) corrupt(file_, tjGetErrorStr2(turbo_.get()));
  }

 private:
  std::string_view bytes_;
  const std::string& file_;
  std::unique_ptr<void, decltype(&tjDestroy)> turbo_{tjInitDecompress(), tjDestroy};
};

Array read_jpeg(std::string_view bytes, const std::string& file) {
  const auto [frame, several_scans] = read_jpeg_header(bytes, file);
  const std::uint64_t height = frame.height, width = frame.width;
  check_size(height, width, file);
  if (height * width > most_pixels_in_a_byte * bytes.size()) too_few_bytes(height, width, bytes.size(), file);
  if (frame.components != 1 && frame.components != 3) {
    throw InputError(
        fmt::format("{}: has {} colour components, as for print; save it as grey or RGB", file, frame.components));
  }
  if (several_scans && frame.coefficients * 2 > trusted_coefficients + most_coefficients_of_a_byte * bytes.size()) {
    throw InputError(
        fmt::format("{}: is a JPEG file in several scans, of {} x {} pixels in {} bytes; save it in one "
                    "(baseline), or as PNG",
                    file, height, width, bytes.size()));
  }
  const bool colour = frame.components == 3;
  const std::size_t channels = colour ? 3 : 1;
  const JpegDecoder decoder(bytes, file);
  // All of the file is read at any scale, so that data that end early show before the picture is allocated.
  if (height * width * channels > trusted_size) {
    const std::uint64_t low = (height + 7) / 8, narrow = (width + 7) / 8;
    decoder.decode(std::vector<unsigned char>(low * narrow * channels).data(), low, narrow, colour);
  }
  Array image = grey_or_colour(height, width, colour);
  image.bytes.resize(height * width * channels);
  decoder.decode(reinterpret_cast<unsigned char*>(image.bytes.data()), height, width, colour);
  return image;
}

}  // namespace

bool has_image_name(const std::filesystem::path& path) {
  const std::string extension = lower_extension(path);
  return extension == ".png" || extension == ".jpg" || extension == ".jpeg";
}

Array read_image(const std::filesystem::path& path) {
  const std::string file = path.string();
  std::string bytes = read_file(path, largest_file);
  const bool png = bytes.starts_with(png_signature), jpeg = bytes.starts_with(jpeg_signature);
  if (!png && !jpeg) throw InputError(file + ": holds neither a PNG nor a JPEG picture; convert it to PNG");
  if (png != (lower_extension(path) == ".png")) {
    throw InputError(fmt::format("{}: holds a {} picture under another name; rename it", file, png ? "PNG" : "JPEG"));
  }
  return png ? read_png(std::move(bytes), file) : read_jpeg(bytes, file);
}

}  // namespace afterimage
