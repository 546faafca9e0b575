#include "models/formats/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <optional>

#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/json.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

using Json = nlohmann::ordered_json;
constexpr std::uint64_t largest_header = 8 << 20;  // JSON takes several times the memory of its text
constexpr std::size_t most_values = 1 << 18;  // some ten for each tensor, of which a file of JSON has 16384 at most

constexpr std::pair<const char*, DType> dtypes[] = {{"U8", DType::u8},
                                                    {"I8", DType::i8},
                                                    {"I16", DType::i16},
                                                    {"I32", DType::i32},
                                                    {"I64", DType::i64},
                                                    {"F16", DType::f16},
                                                    {"BF16", DType::bf16},
                                                    {"F32", DType::f32},
                                                    {"F64", DType::f64},
                                                    {"BOOL", DType::boolean},
                                                    {"U16", DType::u16},
                                                    {"U32", DType::u32},
                                                    {"U64", DType::u64},
                                                    {"F8_E4M3", DType::f8_e4m3fn},
                                                    {"F8_E5M2", DType::f8_e5m2},
                                                    {"F8_E4M3FNUZ", DType::f8_e4m3fnuz},
                                                    {"F8_E5M2FNUZ", DType::f8_e5m2fnuz}};

struct Entry {
  std::string name, dtype_name;
  std::optional<DType> dtype;  // none: one that is not read
  std::vector<std::int64_t> shape;
  std::uint64_t begin, end;
};

class HeaderReader {
 public:
  HeaderReader(std::string file, std::uint64_t data_bytes) : file_(std::move(file)), data_bytes_(data_bytes) {}

  Entry entry(const std::string& name, const Json& value) const {
    const std::string tensor = fmt::format("{}: tensor \"{}\"", file_, printable(name));
    if (!value.is_object() || value.size() != 3 || !value.contains("dtype") || !value.contains("shape") ||
        !value.contains("data_offsets")) {
      throw InputError(tensor + " has to be described by dtype, shape and data_offsets");
    }
    const Json &shape = value["shape"], &offsets = value["data_offsets"];
    if (!value["dtype"].is_string()) throw InputError(tensor + " has a dtype that is no text");
    Entry entry{name, value["dtype"].get<std::string>(), std::nullopt, {}, 0, 0};
    for (const auto& [known, dtype] : dtypes) {
      if (entry.dtype_name == known) entry.dtype = dtype;
    }
    if (!shape.is_array() || shape.size() > 16)
      throw InputError(tensor + " has a shape that is not a list of at most 16 sizes");
    for (const auto& size : shape) {
      if (!size.is_number_unsigned() || size.get<std::uint64_t>() > (1ULL << 62)) {
        throw InputError(tensor + " has a size that is not a whole number");
      }
      entry.shape.push_back(size.get<std::int64_t>());
    }
    if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
        !offsets[1].is_number_unsigned()) {
      throw InputError(tensor + " has data_offsets that are not two whole numbers");
    }
    entry.begin = offsets[0].get<std::uint64_t>();
    entry.end = offsets[1].get<std::uint64_t>();
    if (entry.begin > entry.end || entry.end > data_bytes_) {
      throw InputError(
          fmt::format("{} lies at bytes {} to {} but the file has {} bytes of data; it is truncated or corrupt, "
                      "copy it again",
                      tensor, entry.begin, entry.end, data_bytes_));
    }
    if (!entry.dtype) return entry;
    const auto bytes = checked_bytes(entry.shape, *entry.dtype);
    if (!bytes || *bytes != entry.end - entry.begin) {
      throw InputError(
          fmt::format("{} has {} bytes, which its shape and dtype do not fit", tensor, entry.end - entry.begin));
    }
    return entry;
  }

  // Every byte of the data belongs to exactly one tensor.
  void require_contiguous(const std::vector<Entry>& sorted) const {
    std::uint64_t at = 0;
    for (const auto& entry : sorted) {
      if (entry.begin != at) {
        throw InputError(
            fmt::format("{}: tensor \"{}\" starts at byte {} where the one before ends at {}; tensors may not "
                        "overlap or leave holes",
                        file_, printable(entry.name), entry.begin, at));
      }
      at = entry.end;
    }
    if (at != data_bytes_) {
      throw InputError(fmt::format("{}: {} bytes after the last tensor belong to none", file_, data_bytes_ - at));
    }
  }

 private:
  std::string file_;
  std::uint64_t data_bytes_;
};

}  // namespace

Safetensors read_safetensors(const std::filesystem::path& path) {
  const std::string file = path.string();
  const auto size = bytes_in(path);
  std::ifstream in(path, std::ios::binary);
  if (!in) throw InputError(file + ": cannot be opened; give a readable file");
  std::uint64_t header_size = 0;
  if (size < 8 || !in.read(reinterpret_cast<char*>(&header_size), 8)) {
    throw InputError(fmt::format("{}: has {} bytes, too few for a safetensors file", file, size));
  }
  if (header_size > size - 8) {
    throw InputError(
        fmt::format("{}: declares a header of {} bytes but the file has {}; it is not a safetensors file or is "
                    "truncated",
                    file, header_size, size));
  }
  if (header_size > largest_header) {
    throw InputError(fmt::format("{}: has a header of {} bytes, more than the {} that one may have", file, header_size,
                                 largest_header));
  }
  std::string header(header_size, '\0');
  if (!in.read(header.data(), static_cast<std::streamsize>(header_size))) throw InputError(file + ": cannot be read");
  const Json document = parse_json(header, file, most_values);
  if (!document.is_object()) throw InputError(file + ": its header has to be a JSON object");

  Safetensors content;
  const HeaderReader reader(file, size - 8 - header_size);
  std::vector<Entry> entries;
  for (const auto& [name, value] : document.items()) {
    if (name != "__metadata__") {
      entries.push_back(reader.entry(name, value));
      continue;
    }
    if (!value.is_object()) throw InputError(file + ": its __metadata__ has to be a JSON object");
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string()) throw InputError(file + ": its __metadata__ may hold only strings");
      content.metadata[key] = text.get<std::string>();
    }
  }
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  reader.require_contiguous(entries);
  for (const auto& entry : entries) {
    if (!entry.dtype) {
      content.passed_over.push_back({entry.name, entry.dtype_name});
      in.seekg(static_cast<std::streamoff>(entry.end - entry.begin), std::ios::cur);
      continue;
    }
    Array array{*entry.dtype, entry.shape, std::vector<std::byte>(entry.end - entry.begin)};
    if (!in.read(reinterpret_cast<char*>(array.bytes.data()), static_cast<std::streamsize>(array.bytes.size()))) {
      throw InputError(file + ": ended early; copy it again");
    }
    content.arrays.emplace_back(entry.name, std::move(array));
  }
  return content;
}

void write_safetensors(const std::filesystem::path& path, const Safetensors& content) {
  Json header = Json::object();
  if (!content.metadata.empty()) header["__metadata__"] = content.metadata;
  std::uint64_t at = 0;
  for (const auto& [name, array] : content.arrays) {
    const char* dtype = nullptr;
    for (const auto& [text, known] : dtypes) {
      if (known == array.dtype) dtype = text;
    }
    header[name] = {{"dtype", dtype}, {"shape", array.shape}, {"data_offsets", {at, at + array.bytes.size()}}};
    at += array.bytes.size();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // tensors start at a multiple of 8
  const std::uint64_t header_size = text.size();
  std::string bytes(reinterpret_cast<const char*>(&header_size), 8);
  bytes += text;
  bytes.reserve(bytes.size() + at);
  for (const auto& [name, array] : content.arrays) {
    bytes.append(reinterpret_cast<const char*>(array.bytes.data()), array.bytes.size());
  }
  write_file(path, bytes);
}

}  // namespace afterimage
