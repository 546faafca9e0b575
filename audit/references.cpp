#include "audit/references.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/formats/npz.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/weights.h"

namespace afterimage {
namespace {

namespace fs = std::filesystem;

constexpr const char* folder_name = "references";
constexpr const char* images_name = "trained-on.npz";

}  // namespace

std::vector<Parameters> read_references(const std::vector<std::string>& files, const std::string& key,
                                        const TrainedNetwork& released) {
  std::vector<Parameters> references;
  for (const auto& file : files) {
    const Parameters weights = read_weights(file, key, at::kDouble).parameters;
    Parameters reference = released.network->arranged(weights, file).to(released.trained.dtype());
    if (reference.minus(released.trained).squared_norm() == 0) {
      throw InputError(file + ": holds the weights that are audited; a reference model is trained on other records");
    }
    references.push_back(std::move(reference));
  }
  return references;
}

RunReferences references_of_run(const fs::path& run) {
  const fs::path folder = run / folder_name;
  RunReferences references;
  if (!is_there(folder / images_name)) return references;
  const fs::path images = folder / images_name;
  const NamedArrays arrays = read_npz(images);
  const Array* array = find(arrays, "images");
  if (array == nullptr) throw InputError(images.string() + ": has no array named images");
  references.trained_on = to_tensor(*array).to(at::kFloat);
  for (std::int64_t i = 1; is_there(folder / fmt::format("{}.safetensors", i)); ++i) {
    references.files.push_back((folder / fmt::format("{}.safetensors", i)).string());
  }
  return references;
}

void require_references(std::int64_t count, const DrawnData& data) {
  const std::int64_t needed = data.training.images.size(0), there = data.others.size(0);
  if (count == 0 || there >= needed) return;
  throw UsageError(
      fmt::format("--references: each is trained on {} images that are in no other set, and there are {}; "
                  "take fewer --samples",
                  needed, there));
}

void train_references(const fs::path& run, std::int64_t count, const Network& network, const Parameters& initial,
                      const DrawnData& data, const Recipe& recipe, Generator& random, Progress& progress) {
  const std::int64_t images = data.training.images.size(0), others = data.others.size(0);
  const fs::path folder = run / folder_name;
  fs::create_directory(folder);
  Tensor used = at::zeros({others}, at::kBool);
  for (std::int64_t i = 1; i <= count; ++i) {
    progress.stage(fmt::format("train: reference {} of {}", i, count));
    const Tensor rows = at::randperm(others, random, at::kLong).narrow(0, 0, images);
    used.index_fill_(0, rows, true);
    const Training training = train(network, initial, data.others.index_select(0, rows),
                                    data.others_targets.index_select(0, rows), recipe, random, progress);
    write_parameters(folder / fmt::format("{}.safetensors", i), training.trained);
  }
  write_npz(folder / images_name, {{"images", to_array(data.others.index_select(0, at::nonzero(used).squeeze(1)))}});
}

}  // namespace afterimage
