#include "models/formats/idx.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <new>

#include "models/foundations/error.h"
#include "models/foundations/files.h"

namespace afterimage {
namespace {

constexpr std::uint64_t most_inflated = 1100;  // deflate reaches at most about 1032 to one
constexpr std::uint64_t largest_payload = 1ULL << 34;
constexpr std::uint64_t trusted_size = 48 << 20;  // inflated at once: more is first inflated without being kept

// Reads a plain file or a gzip stream of one member alike. zlib's own gzread accepts a stream that lost its checksum,
// so the stream is inflated here.
class Stream {
 public:
  explicit Stream(const std::filesystem::path& path) : file_(path, std::ios::binary), path_(path.string()) {
    if (!file_) throw InputError(path_ + ": cannot be opened; give a readable file");
    refill();
    plain_ = zlib_.avail_in < 2 || packed_[0] != 0x1f || packed_[1] != 0x8b;
    constexpr int gzip_window = 15 + 16;
    if (inflateInit2(&zlib_, gzip_window) != Z_OK) throw std::bad_alloc();
  }
  ~Stream() { inflateEnd(&zlib_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Whether the file is not gzip-compressed.
  bool is_plain() const { return plain_; }

  // Bytes read, fewer than `size` only at the end. Throws InputError on a gzip stream that is corrupt or cut off.
  std::size_t read(void* into, std::size_t size) {
    auto* out = static_cast<Bytef*>(into);
    std::size_t total = 0;
    while (total < size) {
      if (zlib_.avail_in == 0) refill();
      if (ended_) {
        if (zlib_.avail_in > 0) throw InputError(path_ + ": has bytes after its gzip stream; copy it again");
        break;
      }
      if (zlib_.avail_in == 0) {
        if (plain_) break;
        throw InputError(path_ + ": its gzip stream is cut off; copy it again");
      }
      const auto room = static_cast<uInt>(std::min<std::size_t>(size - total, 1U << 30));
      total += plain_ ? copy(out + total, room) : inflated(out + total, room);
    }
    return total;
  }

 private:
  void refill() {
    file_.read(reinterpret_cast<char*>(packed_.data()), static_cast<std::streamsize>(packed_.size()));
    zlib_.next_in = packed_.data();
    zlib_.avail_in = static_cast<uInt>(file_.gcount());
  }

  std::size_t copy(Bytef* out, uInt room) {
    const uInt count = std::min(room, zlib_.avail_in);
    std::copy_n(zlib_.next_in, count, out);
    zlib_.next_in += count;
    zlib_.avail_in -= count;
    return count;
  }

  std::size_t inflated(Bytef* out, uInt room) {
    zlib_.next_out = out;
    zlib_.avail_out = room;
    const int code = inflate(&zlib_, Z_NO_FLUSH);
    if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR) {
      throw InputError(path_ + ": its gzip stream is corrupt; copy it again");
    }
    ended_ = code == Z_STREAM_END;
    return room - zlib_.avail_out;
  }

  std::ifstream file_;
  std::string path_;
  std::array<Bytef, 1 << 16> packed_;
  z_stream zlib_{};
  bool plain_ = true, ended_ = false;
};

std::uint32_t big_endian(const unsigned char* bytes) {
  return (std::uint32_t{bytes[0]} << 24) | (std::uint32_t{bytes[1]} << 16) | (std::uint32_t{bytes[2]} << 8) | bytes[3];
}

// Bytes that can be read after the first `skipped`, counted up to one more than `most`.
std::uint64_t payload_of(const std::filesystem::path& path, std::uint64_t skipped, std::uint64_t most) {
  Stream stream(path);
  std::array<char, 1 << 16> piece;
  std::uint64_t total = 0;
  while (total <= skipped + most) {
    const std::size_t got = stream.read(piece.data(), piece.size());
    if (got == 0) break;
    total += got;
  }
  return std::min(total - std::min(total, skipped), most + 1);
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
  if (!bytes || *bytes > largest_payload || *bytes > on_disk * (stream.is_plain() ? 1 : most_inflated)) {
    throw InputError(
        fmt::format("{}: its header declares more data than the {} bytes of the file can hold", file, on_disk));
  }
  const auto require = [&](std::uint64_t got) {
    if (got < *bytes) {
      throw InputError(fmt::format(
          "{}: has {} of the {} bytes that its header declares; it is truncated, copy it again", file, got, *bytes));
    }
    if (got > *bytes) {
      throw InputError(fmt::format("{}: has more than the {} bytes that its header declares", file, *bytes));
    }
  };
  if (*bytes > trusted_size) require(payload_of(path, 4 + 4 * array.shape.size(), *bytes));
  array.bytes.resize(*bytes);
  std::uint64_t got = stream.read(array.bytes.data(), *bytes);
  char more = 0;
  if (got == *bytes) got += stream.read(&more, 1);
  require(got);
  return array;
}

}  // namespace afterimage
