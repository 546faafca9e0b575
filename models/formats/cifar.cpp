#include "models/formats/cifar.h"

#include <fmt/format.h>

#include <string>

#include "models/foundations/error.h"
#include "models/foundations/files.h"

namespace afterimage {
namespace {

constexpr std::size_t side = 32, plane = side * side, planes = 3;
constexpr std::uint64_t largest_file = std::uint64_t{1} << 30;

}  // namespace

CifarRecords read_cifar(const std::filesystem::path& path, std::size_t label_bytes, std::int64_t classes) {
  const std::string file = path.string(), bytes = read_file(path, largest_file);
  const std::size_t length = label_bytes + planes * plane, count = bytes.size() / length;
  if (count == 0 || bytes.size() % length != 0) {
    throw InputError(
        fmt::format("{}: has {} bytes, which is no multiple of the {} of a record; copy it again, in the "
                    "binary version of CIFAR",
                    file, bytes.size(), length));
  }
  CifarRecords records{{DType::u8, {static_cast<std::int64_t>(count), side, side, planes}, {}}, {}};
  for (std::size_t i = 0; i < count; ++i) {
    records.labels.push_back(static_cast<unsigned char>(bytes[i * length + label_bytes - 1]));
    if (records.labels.back() >= classes) {
      throw InputError(fmt::format("{}: has a label {}, but labels go up to {}; give the binary version of CIFAR", file,
                                   records.labels.back(), classes - 1));
    }
  }
  records.images.bytes.resize(count * planes * plane);
  std::byte* pixel = records.images.bytes.data();
  for (std::size_t i = 0; i < count; ++i) {
    const char* picture = bytes.data() + i * length + label_bytes;
    for (std::size_t at = 0; at < plane; ++at) {
      for (std::size_t colour = 0; colour < planes; ++colour)
        *pixel++ = static_cast<std::byte>(picture[colour * plane + at]);
    }
  }
  return records;
}

}  // namespace afterimage
