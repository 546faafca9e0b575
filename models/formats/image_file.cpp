#include "models/formats/image_file.h"

#include <fmt/format.h>
#include <jpeglib.h>
#include <png.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdio>  // jpeglib.h needs it before it
#include <cstring>

#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

constexpr std::uint64_t largest_file = 256 << 20;
constexpr std::uint64_t longest_side = 16384, most_pixels = 1 << 26;
constexpr std::uint64_t most_inflated = 1100;          // deflate cannot do better than about 1032 to one
constexpr std::uint64_t most_pixels_in_a_byte = 1024;  // JPEG takes at least one bit for 64 pixels of a component
constexpr int most_scans = 200;                        // of a progressive JPEG file; each costs as much as a picture
constexpr std::uint64_t trusted_size = 32 << 20;       // bytes decoded at once: more are first decoded to nowhere
// Of a JPEG file in several scans, all coefficients are held: two bytes each.
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
    throw InputError(fmt::format(
        "{}: is {} x {} pixels; pictures may have sides of 16384 and 64 million pixels at most", file, height, width));
  }
}

[[noreturn]] void too_few_bytes(std::uint64_t height, std::uint64_t width, std::uint64_t bytes,
                                const std::string& file) {
  throw InputError(
      fmt::format("{}: promises {} x {} pixels, more than its {} bytes can hold", file, height, width, bytes));
}

[[noreturn]] void corrupt(const std::string& file, const std::string& what) {
  throw InputError(fmt::format("{}: is corrupt ({}); copy it again", file, printable(what)));
}

// What the two decoders share. They report by longjmp, which skips destructors: all that they fill lies here, outside
// of the functions that are left in that way.
struct Decoding {
  std::string_view bytes;
  bool keep = true;  // else each row goes where the one before was
  std::size_t position = 0;
  std::size_t height = 0, width = 0, channels = 0;
  std::vector<std::byte> pixels;
  std::string problem;
  std::jmp_buf on_error;

  void allocate() { pixels.resize((keep ? height : 1) * width * channels); }
  unsigned char* row(std::size_t i) {
    return reinterpret_cast<unsigned char*>(pixels.data()) + (keep ? i : 0) * width * channels;
  }
};

// Grey or colour without its alpha channel, which has to be opaque.
Array opaque(const Decoding& decoded, const std::string& file) {
  const std::size_t channels = decoded.channels, kept = channels < 3 ? 1 : 3, count = decoded.height * decoded.width;
  Array image{DType::u8, {static_cast<std::int64_t>(decoded.height), static_cast<std::int64_t>(decoded.width)}, {}};
  if (kept == 3) image.shape.push_back(3);
  image.bytes.resize(count * kept);
  for (std::size_t i = 0; i < count; ++i) {
    const std::byte* pixel = decoded.pixels.data() + i * channels;
    if (kept < channels && pixel[kept] != std::byte{255}) {
      throw InputError(file + ": has transparent pixels; save it flattened onto a background, without alpha channel");
    }
    std::copy_n(pixel, kept, image.bytes.data() + i * kept);
  }
  return image;
}

std::uint32_t big_endian(std::string_view bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = (value << 8) | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

// The size in the header against the bytes of the file, before libpng sees either. Returns the bytes that the pixels
// take when decoded, or more.
std::uint64_t check_png_header(std::string_view bytes, const std::string& file) {
  constexpr std::size_t header = 8 + 8 + 13 + 4;  // signature; IHDR's length and name, its fields, its checksum
  if (bytes.size() < header || bytes.substr(8, 8) != std::string_view("\0\0\0\rIHDR", 8)) {
    corrupt(file, "it does not begin with a PNG header");
  }
  const std::uint64_t width = big_endian(bytes, 16), height = big_endian(bytes, 20);
  const auto depth = static_cast<unsigned char>(bytes[24]), kind = static_cast<unsigned char>(bytes[25]);
  check_size(height, width, file);
  constexpr std::array<std::uint64_t, 7> samples = {1, 0, 3, 1, 2, 0, 4};  // a pixel, by the kind of colour
  if (kind >= samples.size() || samples[kind] == 0) corrupt(file, "no kind of colour has its number");
  const std::uint64_t row = (width * depth * samples[kind] + 7) / 8 + 1;
  if (row * height > most_inflated * bytes.size()) too_few_bytes(height, width, bytes.size(), file);
  constexpr std::uint64_t most_channels = 4;
  return height * width * most_channels;
}

void png_fail(png_structp png, png_const_charp message) {
  auto* decoding = static_cast<Decoding*>(png_get_error_ptr(png));
  decoding->problem = message;
  std::longjmp(decoding->on_error, 1);
}

void png_read(png_structp png, png_bytep into, std::size_t count) {
  auto* decoding = static_cast<Decoding*>(png_get_io_ptr(png));
  if (count > decoding->bytes.size() - decoding->position) png_error(png, "it ends early");
  std::memcpy(into, decoding->bytes.data() + decoding->position, count);
  decoding->position += count;
}

// No object with a destructor may live in here.
bool decode_png(Decoding& decoding, png_structp png, png_infop info) {
  if (setjmp(decoding.on_error) != 0) return false;
  png_set_read_fn(png, &decoding, png_read);
  png_set_user_limits(png, longest_side, longest_side);
  // Profiles, texts and times are passed over; their checksums are still looked at.
  png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
  png_read_info(png, info);
  png_set_expand(png);
  png_set_scale_16(png);
  const int passes = png_set_interlace_handling(png);
  png_read_update_info(png, info);
  decoding.height = png_get_image_height(png, info);
  decoding.width = png_get_image_width(png, info);
  decoding.channels = png_get_channels(png, info);
  if (png_get_rowbytes(png, info) != decoding.width * decoding.channels) png_error(png, "its rows have another length");
  decoding.allocate();
  for (int pass = 0; pass < passes; ++pass) {
    for (std::size_t i = 0; i < decoding.height; ++i) png_read_row(png, decoding.row(i), nullptr);
  }
  png_read_end(png, info);
  return true;
}

Decoding decoded_png(std::string_view bytes, bool keep, const std::string& file) {
  Decoding decoding;
  decoding.bytes = bytes;
  decoding.keep = keep;
  struct Reader {
    png_structp png;
    png_infop info;
    ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
  } reader{png_create_read_struct(PNG_LIBPNG_VER_STRING, &decoding, png_fail, png_fail), nullptr};
  if (reader.png != nullptr) reader.info = png_create_info_struct(reader.png);
  if (reader.info == nullptr) throw std::bad_alloc();
  if (!decode_png(decoding, reader.png, reader.info)) corrupt(file, decoding.problem);
  if (decoding.position != bytes.size()) {
    throw InputError(fmt::format("{}: has {} bytes after the end of its picture; save it again", file,
                                 bytes.size() - decoding.position));
  }
  return decoding;
}

Array read_png(std::string_view bytes, const std::string& file) {
  if (check_png_header(bytes, file) > trusted_size) decoded_png(bytes, false, file);
  return opaque(decoded_png(bytes, true, file), file);
}

void jpeg_fail(j_common_ptr jpeg) {
  auto* decoding = static_cast<Decoding*>(jpeg->client_data);
  char message[JMSG_LENGTH_MAX];
  jpeg->err->format_message(jpeg, message);
  decoding->problem = message;
  std::longjmp(decoding->on_error, 1);
}

void jpeg_message(j_common_ptr jpeg, int level) {
  if (level < 0) jpeg_fail(jpeg);  // a warning; from 0 on it only tells what it does
}

void jpeg_progress(j_common_ptr jpeg) {
  const auto* decompress = reinterpret_cast<j_decompress_ptr>(jpeg);
  if (decompress->input_scan_number <= most_scans) return;
  auto* decoding = static_cast<Decoding*>(jpeg->client_data);
  decoding->problem = "it has too many scans";
  std::longjmp(decoding->on_error, 1);
}

// No object with a destructor may live in here.
bool begin_jpeg(Decoding& decoding, jpeg_decompress_struct& jpeg) {
  if (setjmp(decoding.on_error) != 0) return false;
  jpeg_create_decompress(&jpeg);
  jpeg.client_data = &decoding;  // creating it clears all but the error manager
  jpeg_mem_src(&jpeg, reinterpret_cast<const unsigned char*>(decoding.bytes.data()), decoding.bytes.size());
  jpeg_read_header(&jpeg, TRUE);
  return true;
}

// Likewise.
bool decode_jpeg(Decoding& decoding, jpeg_decompress_struct& jpeg) {
  if (setjmp(decoding.on_error) != 0) return false;
  jpeg.out_color_space = jpeg.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_start_decompress(&jpeg);
  decoding.height = jpeg.output_height;
  decoding.width = jpeg.output_width;
  decoding.channels = static_cast<std::size_t>(jpeg.output_components);
  decoding.allocate();
  while (jpeg.output_scanline < jpeg.output_height) {
    JSAMPROW row = decoding.row(jpeg.output_scanline);
    jpeg_read_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_decompress(&jpeg);
  return true;
}

// What libjpeg holds of a file in several scans before it makes a pixel of it, against the bytes of the file.
void check_scans(jpeg_decompress_struct& jpeg, std::uint64_t bytes, const std::string& file) {
  if (jpeg_has_multiple_scans(&jpeg) == FALSE) return;
  std::uint64_t coefficients = 0;
  for (int i = 0; i < jpeg.num_components; ++i) {
    coefficients += std::uint64_t{jpeg.comp_info[i].width_in_blocks} * jpeg.comp_info[i].height_in_blocks * DCTSIZE2;
  }
  if (coefficients * sizeof(JCOEF) > trusted_coefficients + most_coefficients_of_a_byte * bytes) {
    throw InputError(
        fmt::format("{}: is a JPEG file in several scans, of {} x {} pixels in {} bytes; save it in one "
                    "(baseline), or as PNG",
                    file, jpeg.image_height, jpeg.image_width, bytes));
  }
}

Decoding decoded_jpeg(std::string_view bytes, bool keep, const std::string& file) {
  Decoding decoding;
  decoding.bytes = bytes;
  decoding.keep = keep;
  jpeg_error_mgr errors{};
  jpeg_progress_mgr progress{};
  jpeg_decompress_struct jpeg{};
  jpeg.err = jpeg_std_error(&errors);
  jpeg.client_data = &decoding;
  errors.error_exit = jpeg_fail;
  errors.emit_message = jpeg_message;
  progress.progress_monitor = jpeg_progress;
  struct Destroy {
    jpeg_decompress_struct& owned;
    ~Destroy() { jpeg_destroy_decompress(&owned); }
  } const destroy{jpeg};
  if (!begin_jpeg(decoding, jpeg)) corrupt(file, decoding.problem);
  jpeg.progress = &progress;
  check_size(jpeg.image_height, jpeg.image_width, file);
  if (std::uint64_t{jpeg.image_height} * jpeg.image_width > most_pixels_in_a_byte * bytes.size()) {
    too_few_bytes(jpeg.image_height, jpeg.image_width, bytes.size(), file);
  }
  if (jpeg.num_components != 1 && jpeg.num_components != 3) {
    throw InputError(
        fmt::format("{}: has {} colour components, as for print; save it as grey or RGB", file, jpeg.num_components));
  }
  check_scans(jpeg, bytes.size(), file);
  if (keep && std::uint64_t{jpeg.image_height} * jpeg.image_width * 3 > trusted_size) decoded_jpeg(bytes, false, file);
  if (!decode_jpeg(decoding, jpeg)) corrupt(file, decoding.problem);
  return decoding;
}

Array read_jpeg(std::string_view bytes, const std::string& file) {
  return opaque(decoded_jpeg(bytes, true, file), file);
}

}  // namespace

bool has_image_name(const std::filesystem::path& path) {
  const std::string extension = lower_extension(path);
  return extension == ".png" || extension == ".jpg" || extension == ".jpeg";
}

Array read_image(const std::filesystem::path& path) {
  const std::string file = path.string(), bytes = read_file(path, largest_file);
  const bool png = bytes.starts_with(png_signature), jpeg = bytes.starts_with(jpeg_signature);
  if (!png && !jpeg) throw InputError(file + ": holds neither a PNG nor a JPEG picture; convert it to PNG");
  if (png != (lower_extension(path) == ".png")) {
    throw InputError(fmt::format("{}: holds a {} picture under another name; rename it", file, png ? "PNG" : "JPEG"));
  }
  return png ? read_png(bytes, file) : read_jpeg(bytes, file);
}

}  // namespace afterimage
