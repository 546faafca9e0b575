#include "models/base/idx.h"

#include <fmt/format.h>
#include <zlib.h>

#include <memory>

#include "models/base/error.h"
#include "models/base/files.h"

namespace afterimage {
namespace {

constexpr std::uint64_t most_inflated = 1100;  // deflate cannot do better than about 1032 to one
constexpr std::uint64_t largest_payload = 1ULL << 34;

// Reads a plain file or a gzip stream alike.
class Stream {
 public:
  explicit Stream(const std::filesystem::path& path)
      : file_(gzopen(path.c_str(), "rb"), gzclose), path_(path.string()) {
    if (!file_) throw InputError(path_ + ": cannot be opened; give a readable file");
  }

  // Bytes read, fewer than `size` only at the end.
  std::size_t read(void* into, std::size_t size) {
    std::size_t total = 0;
    while (total < size) {
      const auto chunk = static_cast<unsigned>(std::min<std::size_t>(size - total, 1U << 30));
      const int got = gzread(file_.get(), static_cast<char*>(into) + total, chunk);
      if (got < 0) throw InputError(path_ + ": its gzip stream is corrupt; copy it again");
      if (got == 0) break;
      total += static_cast<std::size_t>(got);
    }
    return total;
  }

  // A gzip stream that was cut off ends without its checksum.
  bool ended_cleanly() {
    int code = Z_OK;
    gzerror(file_.get(), &code);
    return code == Z_OK || code == Z_STREAM_END;
  }

 private:
  std::unique_ptr<gzFile_s, decltype(&gzclose)> file_;
  std::string path_;
};

std::uint32_t big_endian(const unsigned char* bytes) {
  return (std::uint32_t{bytes[0]} << 24) | (std::uint32_t{bytes[1]} << 16) | (std::uint32_t{bytes[2]} << 8) | bytes[3];
}

}  // namespace

Array read_idx(const std::filesystem::path& path) {
  const std::string file = path.string();
  const std::uint64_t on_disk = bytes_in(path);
  Stream stream(path);
  unsigned char magic[4];
  if (stream.read(magic, 4) != 4) throw InputError(file + ": too short for an IDX file");
  if (magic[0] != 0 || magic[1] != 0 || magic[2] != 8 || magic[3] < 1 || magic[3] > 4) {
    throw InputError(file +
                     ": not an IDX file of unsigned bytes (it should start with 00 00 08 and a rank from 1 to 4)");
  }
  Array array{DType::u8, {}, {}};
  for (int i = 0; i < magic[3]; ++i) {
    unsigned char size[4];
    if (stream.read(size, 4) != 4) throw InputError(file + ": ends inside its header; copy it again");
    array.shape.push_back(big_endian(size));
  }
  const auto bytes = checked_bytes(array.shape, DType::u8);
  if (!bytes || *bytes > largest_payload || *bytes > on_disk * most_inflated) {
    throw InputError(
        fmt::format("{}: its header promises more data than the {} bytes of the file can hold", file, on_disk));
  }
  array.bytes.resize(*bytes);
  const std::size_t got = stream.read(array.bytes.data(), *bytes);
  if (got != *bytes || !stream.ended_cleanly()) {
    throw InputError(fmt::format("{}: has {} of the {} bytes that its header promises; it is truncated, copy it again",
                                 file, got, *bytes));
  }
  char more = 0;
  if (stream.read(&more, 1) != 0) {
    throw InputError(fmt::format("{}: has more than the {} bytes that its header promises", file, *bytes));
  }
  return array;
}

}  // namespace afterimage
