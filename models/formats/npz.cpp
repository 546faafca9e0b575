#include "models/formats/npz.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>
#include <zip.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <set>

#include "models/formats/zip_archive.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

constexpr std::uint64_t largest_header = 1 << 16;
constexpr std::size_t most_members = 4096;

// Without the byte order that they begin with.
constexpr std::pair<std::string_view, DType> descriptors[] = {
    {"u1", DType::u8},  {"i1", DType::i8},   {"u2", DType::u16},    {"i2", DType::i16}, {"u4", DType::u32},
    {"i4", DType::i32}, {"u8", DType::u64},  {"i8", DType::i64},    {"f2", DType::f16}, {"f4", DType::f32},
    {"f8", DType::f64}, {"V2", DType::bf16}, {"b1", DType::boolean}};
constexpr std::string_view long_double = "f16", kinds_passed_over = "SUVOMmcaf";

struct NpyHeader {
  std::optional<DType> dtype;  // none: `descriptor` says what is passed over
  std::string descriptor;
  bool column_major = false, big_endian = false, extended = false;  // extended: 80-bit numbers in 16 bytes
  std::vector<std::int64_t> shape;

  // Of the array as it lies in the file.
  std::optional<std::uint64_t> bytes() const {
    auto count = checked_bytes(shape, *dtype);
    if (count && extended && __builtin_mul_overflow(*count, std::uint64_t{2}, &*count)) return std::nullopt;
    return count;
  }
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
        describe(header);
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
    if (!accept('\'')) fail("lacks a quoted text");
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
  void describe(NpyHeader& header) {
    skip_space();
    if (rest_.starts_with('[')) {
      skip_list();
      header.descriptor = "a structured array";
      return;
    }
    const std::string text = quoted();
    header.descriptor = text;
    if (text.size() < 2 || std::string_view("<>|=").find(text.front()) == std::string_view::npos) {
      fail(fmt::format("has the unknown type \"{}\"", printable(text)));
    }
    const std::string_view type = std::string_view(text).substr(1);
    for (const auto& [known, dtype] : descriptors) {
      if (type == known) header.dtype = dtype;
    }
    header.extended = type == long_double;
    if (header.extended) header.dtype = DType::f64;
    header.big_endian = text.front() == '>';
    if (header.big_endian && header.extended) header.dtype.reset();  // an IBM format
    if (!header.dtype && kinds_passed_over.find(type.front()) == std::string_view::npos) {
      fail(fmt::format("has the unknown type \"{}\"", printable(text)));
    }
  }
  // A list of fields, with texts and lists in it.
  void skip_list() {
    int depth = 0;
    for (std::size_t i = 0; i < rest_.size(); ++i) {
      const char c = rest_[i];
      if (c == '\'') {
        i = rest_.find('\'', i + 1);
        if (i == std::string_view::npos) fail("has an open quote");
      }
      depth += c == '[' ? 1 : c == ']' ? -1 : 0;
      if (depth > 0) continue;
      rest_.remove_prefix(i + 1);
      return;
    }
    fail("has an open list");
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

  if (!header.dtype) return {header, start + length};
  const auto expected = header.bytes();
  const std::uint64_t payload = size - start - length;
  if (!expected || *expected != payload) {
    throw InputError(fmt::format("{}: has {} bytes of data, which its shape [{}] of {} does not fit", where, payload,
                                 fmt::join(header.shape, ", "), name_of(*header.dtype)));
  }
  return {header, start + length};
}

// Numbers of the x87 as float64: NumPy's longdouble on x86-64 has 10 bytes of number in 16.
// Nothing where a number lacks the x87's leading one: those of other machines have another layout.
std::optional<std::vector<std::byte>> shortened(const std::vector<std::byte>& from) {
  constexpr std::size_t wide = 16;
  std::vector<std::byte> to(from.size() / wide * sizeof(double));
  for (std::size_t i = 0; i < from.size() / wide; ++i) {
    std::uint64_t significand = 0;
    std::uint16_t head = 0;  // sign and exponent
    std::memcpy(&significand, from.data() + i * wide, 8);
    std::memcpy(&head, from.data() + i * wide + 8, 2);
    constexpr int bias = 16383, fraction_bits = 63, special = 0x7fff;
    const int exponent = head & special;
    if (exponent != 0 && significand >> fraction_bits == 0) return std::nullopt;
    const double magnitude = exponent == special ? (significand << 1 == 0 ? std::numeric_limits<double>::infinity()
                                                                          : std::numeric_limits<double>::quiet_NaN())
                                                 : std::ldexp(static_cast<double>(significand),
                                                              std::max(exponent, 1) - bias - fraction_bits);
    const double value = (head & 0x8000) != 0 ? -magnitude : magnitude;
    std::memcpy(to.data() + i * sizeof(double), &value, sizeof(double));
  }
  return to;
}

void swap_bytes(std::vector<std::byte>& content, std::size_t item) {
  for (auto at = content.begin(); at != content.end(); at += static_cast<std::ptrdiff_t>(item)) {
    std::reverse(at, at + static_cast<std::ptrdiff_t>(item));
  }
}

std::string kind_of(const NpyHeader& header) {
  constexpr std::pair<char, const char*> kinds[] = {{'U', "text"},           {'S', "text"},    {'a', "text"},
                                                    {'O', "Python objects"}, {'M', "dates"},   {'m', "times"},
                                                    {'c', "complex"},        {'V', "raw data"}};
  const std::string& descriptor = header.descriptor;
  for (const auto& [letter, name] : kinds) {
    if (descriptor.size() > 1 && descriptor[1] == letter) return fmt::format("{} ({})", name, descriptor);
  }
  return descriptor;
}

void add_npy(ArrayFile& content, const ZipArchive& zip, const ZipMember& member, const std::string& name) {
  constexpr std::size_t before_header = 12;
  const auto [header, start] =
      parse_start(zip.start_of(member, before_header + largest_header), member.size, zip.where(member));
  if (!header.dtype) {
    content.passed_over.push_back({name, kind_of(header)});
    return;
  }
  std::vector<std::byte> bytes = zip.read_bytes(member);
  bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(start));  // no second copy
  if (header.extended) {
    auto doubles = shortened(bytes);
    if (!doubles) {
      throw InputError(zip.where(member) +
                       ": holds long doubles of another kind of machine; write them with .astype(\"float64\")");
    }
    bytes = std::move(*doubles);
  }
  const std::size_t item = size_of(*header.dtype);
  if (header.big_endian) swap_bytes(bytes, item);
  if (header.column_major && header.shape.size() > 1) bytes = transposed(bytes.data(), header.shape, item);
  if (*header.dtype == DType::bf16 && content.notes.empty()) content.notes.emplace_back("V2 is read as bfloat16");
  content.arrays.emplace_back(name, Array{*header.dtype, header.shape, std::move(bytes)});
}

std::string npy_bytes(const Array& array) {
  std::string_view type;
  for (const auto& [text, dtype] : descriptors) {
    if (dtype == array.dtype && dtype != DType::bf16) type = text;
  }
  if (type.empty()) throw std::invalid_argument("write_npz: NumPy has no " + name_of(array.dtype));
  const std::string descriptor = (size_of(array.dtype) == 1 ? "|" : "<") + std::string(type);
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

ArrayFile read_npz_file(const std::filesystem::path& path) {
  const ZipArchive zip(path, "write it with numpy.savez", most_members);
  ArrayFile content;
  for (const auto& member : zip.members()) {
    constexpr std::string_view ending = ".npy";
    if (!member.name.ends_with(ending)) throw InputError(zip.where(member) + ": an .npz file holds only .npy members");
    add_npy(content, zip, member, member.name.substr(0, member.name.size() - ending.size()));
  }
  return content;
}

NamedArrays read_npz(const std::filesystem::path& path) { return read_npz_file(path).arrays; }

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
