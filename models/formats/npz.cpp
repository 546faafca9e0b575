#include "models/formats/npz.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>
#include <zip.h>

#include <charconv>
#include <cstring>
#include <memory>
#include <set>

#include "models/formats/zip_archive.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

constexpr std::uint64_t largest_header = 1 << 16;
constexpr std::size_t most_members = 4096;

constexpr std::pair<const char*, DType> descriptors[] = {
    {"|u1", DType::u8},  {"|i1", DType::i8},  {"<i2", DType::i16}, {"<i4", DType::i32},    {"<i8", DType::i64},
    {"<f2", DType::f16}, {"<f4", DType::f32}, {"<f8", DType::f64}, {"|b1", DType::boolean}};

struct NpyHeader {
  DType dtype = DType::f32;
  bool column_major = false;
  std::vector<std::int64_t> shape;
};

// Reads the dictionary literal of an .npy header: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }.
class NpyHeaderParser {
 public:
  NpyHeaderParser(std::string_view text, std::string where) : rest_(text), where_(std::move(where)) {}

  NpyHeader parse() {
    NpyHeader header;
    std::set<std::string> seen;
    expect('{');
    while (!accept('}')) {
      const std::string key = quoted();
      if (!seen.insert(key).second) fail("has a key twice");
      expect(':');
      if (key == "descr") {
        header.dtype = dtype(quoted());
      } else if (key == "fortran_order") {
        header.column_major = boolean();
      } else if (key == "shape") {
        header.shape = tuple();
      } else {
        fail("has an unknown key");
      }
      if (accept(',')) continue;
      expect('}');
      break;
    }
    skip_space();
    if (!rest_.empty() || seen.size() != 3) fail("is not descr, fortran_order and shape");
    return header;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw InputError(where_ + ": its .npy header " + what + "; write it with numpy.savez");
  }
  void skip_space() {
    while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\n')) rest_.remove_prefix(1);
  }
  bool accept(char c) {
    skip_space();
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail(fmt::format("lacks a '{}'", c));
  }
  std::string quoted() {
    if (!accept('\'')) {
      if (!rest_.empty() && rest_.front() == '[') fail("describes a structured array, which is not supported");
      fail("lacks a quoted text");
    }
    const auto end = rest_.find('\'');
    if (end == std::string_view::npos) fail("has an open quote");
    std::string text(rest_.substr(0, end));
    rest_.remove_prefix(end + 1);
    return text;
  }
  bool boolean() {
    skip_space();
    for (const auto& [text, value] : {std::pair<std::string_view, bool>{"False", false}, {"True", true}}) {
      if (rest_.starts_with(text)) {
        rest_.remove_prefix(text.size());
        return value;
      }
    }
    fail("has a fortran_order that is neither True nor False");
  }
  std::vector<std::int64_t> tuple() {
    std::vector<std::int64_t> sizes;
    expect('(');
    while (!accept(')')) {
      skip_space();
      std::int64_t size = 0;
      const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), size);
      if (error != std::errc() || size < 0 || sizes.size() == 16) fail("has a shape that is not a tuple of sizes");
      rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
      sizes.push_back(size);
      if (accept(',')) continue;
      expect(')');
      break;
    }
    return sizes;
  }
  DType dtype(const std::string& descriptor) const {
    for (const auto& [text, known] : descriptors) {
      if (descriptor == text) return known;
    }
    if (descriptor.find('O') != std::string::npos) {
      fail("describes Python objects, which are never unpickled");
    }
    if (descriptor.starts_with('>')) fail("describes big-endian numbers, which are not supported");
    fail(fmt::format("has the unknown type \"{}\"", printable(descriptor)));
  }

  std::string_view rest_;
  std::string where_;
};

// Column-major to row-major.
std::vector<std::byte> transposed(const std::byte* from, const std::vector<std::int64_t>& shape, std::size_t item) {
  std::int64_t count = 1;
  for (const auto size : shape) count *= size;
  std::vector<std::byte> to(static_cast<std::size_t>(count) * item);
  std::vector<std::int64_t> at(shape.size(), 0);
  for (std::int64_t row_major = 0; row_major < count; ++row_major) {
    std::int64_t column_major = 0, stride = 1;
    for (std::size_t k = 0; k < shape.size(); ++k) {
      column_major += at[k] * stride;
      stride *= shape[k];
    }
    std::memcpy(to.data() + static_cast<std::size_t>(row_major) * item,
                from + static_cast<std::size_t>(column_major) * item, item);
    for (std::size_t k = shape.size(); k-- > 0;) {
      if (++at[k] < shape[k]) break;
      at[k] = 0;
    }
  }
  return to;
}

// Where the data begin, and their type and shape, from the first bytes of a member of `size` bytes. Throws InputError
// where the number of data bytes does not fit the shape.
struct NpyStart {
  NpyHeader header;
  std::size_t data = 0;
};

NpyStart parse_start(const std::string& bytes, std::uint64_t size, const std::string& where) {
  if (bytes.size() < 10 || bytes.compare(0, 6, "\x93NUMPY") != 0) throw InputError(where + ": not an .npy file");
  const int major = static_cast<unsigned char>(bytes[6]);
  if (major < 1 || major > 3) throw InputError(fmt::format("{}: .npy format version {} is unknown", where, major));
  const std::size_t length_bytes = major == 1 ? 2 : 4, start = 8 + length_bytes;
  std::uint32_t length = 0;
  if (bytes.size() < start) throw InputError(where + ": ends inside its header");
  std::memcpy(&length, bytes.data() + 8, length_bytes);
  if (length > largest_header || length > bytes.size() - start)
    throw InputError(where + ": its header is longer than the member");
  const NpyHeader header = NpyHeaderParser(std::string_view(bytes).substr(start, length), where).parse();

  const auto expected = checked_bytes(header.shape, header.dtype);
  const std::uint64_t payload = size - start - length;
  if (!expected || *expected != payload) {
    throw InputError(fmt::format("{}: has {} bytes of data, which its shape [{}] of {} does not fit", where, payload,
                                 fmt::join(header.shape, ", "), name_of(header.dtype)));
  }
  return {header, start + length};
}

Array read_npy(const ZipArchive& zip, const ZipMember& member) {
  constexpr std::size_t before_header = 12;
  const auto [header, start] =
      parse_start(zip.start_of(member, before_header + largest_header), member.size, zip.where(member));
  std::vector<std::byte> content = zip.read_bytes(member);
  if (header.column_major && header.shape.size() > 1) {
    return {header.dtype, header.shape, transposed(content.data() + start, header.shape, size_of(header.dtype))};
  }
  content.erase(content.begin(), content.begin() + static_cast<std::ptrdiff_t>(start));  // no second copy
  return {header.dtype, header.shape, std::move(content)};
}

std::string npy_bytes(const Array& array) {
  const char* descriptor = nullptr;
  for (const auto& [text, dtype] : descriptors) {
    if (dtype == array.dtype) descriptor = text;
  }
  if (descriptor == nullptr) throw std::invalid_argument("write_npz: NumPy has no bfloat16");
  std::string shape;
  for (const auto size : array.shape) shape += fmt::format("{}, ", size);
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", descriptor, shape);
  header.resize((header.size() + 10 + 1 + 63) / 64 * 64 - 10 - 1, ' ');
  header += '\n';
  const auto length = static_cast<std::uint16_t>(header.size());
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes.append(reinterpret_cast<const char*>(&length), 2);
  bytes += header;
  bytes.append(reinterpret_cast<const char*>(array.bytes.data()), array.bytes.size());
  return bytes;
}

[[noreturn]] void fail_write(const std::filesystem::path& path, zip_t* zip) {
  throw std::runtime_error(fmt::format("{}: cannot be written ({})", path.string(), zip_strerror(zip)));
}

}  // namespace

NamedArrays read_npz(const std::filesystem::path& path) {
  const ZipArchive zip(path, "write it with numpy.savez", most_members);
  NamedArrays arrays;
  for (const auto& member : zip.members()) {
    constexpr std::string_view ending = ".npy";
    if (!member.name.ends_with(ending) || member.name.find('/') != std::string::npos) {
      throw InputError(zip.where(member) + ": an .npz file may hold only .npy members without folders");
    }
    arrays.emplace_back(member.name.substr(0, member.name.size() - ending.size()), read_npy(zip, member));
  }
  return arrays;
}

void write_npz(const std::filesystem::path& path, const NamedArrays& arrays) {
  constexpr time_t epoch = 315532800;  // 1980-01-01, the earliest date in a zip
  const std::filesystem::path temporary = temporary_name(path);
  int code = 0;
  std::unique_ptr<zip_t, decltype(&zip_discard)> zip(zip_open(temporary.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &code),
                                                     zip_discard);
  if (!zip) throw std::runtime_error(fmt::format("{}: cannot be written (zip error {})", path.string(), code));
  std::vector<std::string> members;  // have to outlive the close
  members.reserve(arrays.size());
  for (const auto& [name, array] : arrays) {
    members.push_back(npy_bytes(array));
    zip_source_t* source = zip_source_buffer(zip.get(), members.back().data(), members.back().size(), 0);
    if (source == nullptr) fail_write(path, zip.get());
    const auto index = zip_file_add(zip.get(), (name + ".npy").c_str(), source, ZIP_FL_ENC_UTF_8);
    if (index < 0) {
      zip_source_free(source);
      fail_write(path, zip.get());
    }
    if (zip_file_set_mtime(zip.get(), static_cast<zip_uint64_t>(index), epoch, 0) != 0) fail_write(path, zip.get());
  }
  if (zip_close(zip.get()) != 0) fail_write(path, zip.get());
  static_cast<void>(zip.release());  // closed
  std::error_code error;
  std::filesystem::rename(temporary, path, error);
  if (error) {
    std::error_code ignored;
    std::filesystem::remove(temporary, ignored);
    throw std::runtime_error(fmt::format("{}: cannot be written ({})", path.string(), error.message()));
  }
}

}  // namespace afterimage
