#include "audit/support_set.h"

#include <map>

#include "defenses/baselines.h"
#include "models/formats/npz.h"

namespace afterimage {
namespace {

// For each row of `targets` the smallest label of its class in the data.
Tensor labels_for(const Tensor& targets, const DrawnData& original) {
  const Tensor original_classes = classes_of(original.targets), classes = classes_of(targets);
  std::map<std::int64_t, std::int64_t> smallest;
  for (std::int64_t i = 0; i < original_classes.size(0); ++i) {
    const auto label = original.training.labels[i].item<std::int64_t>();
    const auto [place, added] = smallest.emplace(original_classes[i].item<std::int64_t>(), label);
    place->second = std::min(place->second, label);
  }
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < classes.size(0); ++i) {
    const auto found = smallest.find(classes[i].item<std::int64_t>());
    labels.push_back(found == smallest.end() ? 0 : found->second);  // the class had no image
  }
  return at::tensor(labels, at::kLong);
}

}  // namespace

void write_support_set(const std::filesystem::path& path, const SupportSet& support, const DrawnData& original) {
  const ImageSpace& space = original.training.space;
  const auto shaped = [&](const Tensor& rows) {
    std::vector<std::int64_t> shape = {rows.size(0)};
    shape.insert(shape.end(), space.shape.begin(), space.shape.end());
    return to_array(rows.reshape(shape).contiguous());
  };
  const Tensor pixels = space.pixels(support.images).clamp(0, 1);
  NamedArrays arrays = {{"images", shaped(pixels)},
                        {"labels", to_array(labels_for(support.targets, original))},
                        {"targets", to_array(support.targets.contiguous())},
                        {"mean", to_array(space.mean.reshape(space.shape).contiguous())}};
  if (space.scale.defined()) {
    arrays.emplace_back("scale", to_array(space.scale.reshape(space.shape).contiguous()));
  }
  write_npz(path, arrays);
}

Undefended undefended_of(const DrawnData& data, std::shared_ptr<const Network> network, const Parameters& initial,
                         const Recipe& recipe) {
  return {std::move(network),  initial, data.training.images,  data.targets,
          data.training.space, recipe,  data.mean_of_training, data.others};
}

}  // namespace afterimage
