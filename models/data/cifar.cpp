#include <fmt/format.h>

#include <cstring>
#include <filesystem>

#include "models/base/error.h"
#include "models/base/files.h"
#include "models/data/sources.h"

namespace afterimage {
namespace {

constexpr std::int64_t side = 32, pixels = 3 * side * side;
constexpr std::uint64_t largest_file = std::uint64_t{1} << 30;

// Records of some label bytes, of which the last counts, and the red, green and blue planes of an image.
struct Records {
  std::vector<std::string> files;
  std::int64_t label_bytes, classes;
};

LabelledImages load(const std::string& folder, const Records& records) {
  const std::int64_t length = records.label_bytes + pixels;
  std::vector<Tensor> images, labels;
  LabelledImages loaded;
  for (const auto& name : records.files) {
    const std::string file = (std::filesystem::path(folder) / name).string();
    std::string bytes = read_file(file, largest_file);
    const auto size = static_cast<std::int64_t>(bytes.size());
    if (size == 0 || size % length != 0) {
      throw InputError(
          fmt::format("{}: has {} bytes, which is no multiple of its records' {}; copy it again, in the "
                      "binary version of CIFAR",
                      file, size, length));
    }
    const Tensor table = at::from_blob(bytes.data(), {size / length, length}, at::kByte);
    const Tensor classes = table.select(1, records.label_bytes - 1).to(at::kLong);
    if (const auto largest = classes.max().item<std::int64_t>(); largest >= records.classes) {
      throw InputError(fmt::format("{}: has a label {}, but labels go up to {}; give the binary version of CIFAR", file,
                                   largest, records.classes - 1));
    }
    labels.push_back(classes);
    images.push_back(
        table.narrow(1, records.label_bytes, pixels).reshape({-1, 3, side, side}).permute({0, 2, 3, 1}).contiguous());
    loaded.files.push_back(file);
  }
  loaded.images = at::cat(images).to(at::kFloat).div_(255);
  loaded.labels = at::cat(labels);
  return loaded;
}

}  // namespace

LabelledImages load_cifar10(const std::string& folder) {
  Records records{{}, 1, 10};
  for (int i = 1; i <= 5; ++i) records.files.push_back(fmt::format("data_batch_{}.bin", i));
  records.files.emplace_back("test_batch.bin");
  return load(folder, records);
}

LabelledImages load_cifar100(const std::string& folder) { return load(folder, {{"train.bin", "test.bin"}, 2, 100}); }

}  // namespace afterimage
