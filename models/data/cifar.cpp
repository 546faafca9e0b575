#include "models/formats/cifar.h"

#include <fmt/format.h>

#include <filesystem>

#include "models/data/sources.h"

namespace afterimage {
namespace {

struct Version {
  std::vector<std::string> files;
  std::size_t label_bytes;  // in a record
  std::int64_t classes;
  std::string note;
};

LabelledImages load(const std::string& folder, const Version& version) {
  std::vector<Tensor> images, labels;
  LabelledImages loaded;
  for (const auto& name : version.files) {
    loaded.files.push_back((std::filesystem::path(folder) / name).string());
    const CifarRecords records = read_cifar(loaded.files.back(), version.label_bytes, version.classes);
    images.push_back(to_tensor(records.images));
    labels.push_back(at::tensor(records.labels, at::kLong));
  }
  loaded.images = at::cat(images).to(at::kFloat).div_(255);
  loaded.labels = at::cat(labels);
  loaded.notes = {version.note};
  return loaded;
}

}  // namespace

LabelledImages load_cifar10(const std::string& folder) {
  Version version{{}, 1, 10, "test images follow training images"};
  for (int i = 1; i <= 5; ++i) version.files.push_back(fmt::format("data_batch_{}.bin", i));
  version.files.emplace_back("test_batch.bin");
  return load(folder, version);
}

LabelledImages load_cifar100(const std::string& folder) {
  return load(folder,
              {{"train.bin", "test.bin"}, 2, 100, "labels are the fine ones; test images follow training images"});
}

}  // namespace afterimage
