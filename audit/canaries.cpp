#include "audit/canaries.h"

#include <fmt/format.h>

#include <set>

#include "models/formats/npz.h"
#include "models/foundations/error.h"

namespace afterimage {
namespace {

std::string bytes_of(const Tensor& image) {
  const Tensor row = image.to(at::kFloat).contiguous();
  return {static_cast<const char*>(row.data_ptr()), row.nbytes()};
}

}  // namespace

std::pair<Tensor, Tensor> Canaries::part(bool in) const {
  const Tensor rows = at::nonzero(included == in).squeeze(1);
  return {images.index_select(0, rows), labels.index_select(0, rows)};
}

Canaries make_canaries(const LabelledImages& records, const Tensor& inputs, const Tensor& classes, const Task& task,
                       Generator& random) {
  const std::int64_t outputs = task.outputs(classes);
  const Tensor targets = task.targets(classes, outputs), own = task.targets(records.labels, outputs);
  Canaries canaries{inputs, at::empty_like(records.labels), at::randint(0, 2, {inputs.size(0)}, random, at::kBool)};
  for (std::int64_t i = 0; i < inputs.size(0); ++i) {
    const Tensor others = at::nonzero((targets != own[i]).any(1)).squeeze(1);
    if (others.size(0) == 0) throw UsageError("--canaries: the task has one class, so that no label is wrong");
    const auto chosen = at::randint(0, others.size(0), {1}, random, at::kLong).item<std::int64_t>();
    canaries.labels[i] = classes[others[chosen].item<std::int64_t>()];
  }
  return canaries;
}

void write_canaries(const std::filesystem::path& file, const Canaries& canaries) {
  write_npz(file, {{"images", to_array(canaries.images)},
                   {"labels", to_array(canaries.labels)},
                   {"included", to_array(canaries.included)}});
}

Canaries read_canaries(const std::filesystem::path& file, const TrainingSet& training) {
  const NamedArrays arrays = read_npz(file);
  const auto get = [&](const char* name) {
    const Array* array = find(arrays, name);
    if (array == nullptr) throw InputError(fmt::format("{}: has no array named {}", file.string(), name));
    return to_tensor(*array);
  };
  Canaries canaries{get("images"), get("labels"), get("included")};
  const std::int64_t count = canaries.images.dim() == 2 ? canaries.images.size(0) : 0;
  if (count == 0 || canaries.images.size(1) != training.images.size(1) || canaries.images.scalar_type() != at::kFloat ||
      !at::isfinite(canaries.images).all().item<bool>() || canaries.labels.sizes() != at::IntArrayRef{count} ||
      canaries.labels.scalar_type() != at::kLong || canaries.included.sizes() != at::IntArrayRef{count} ||
      canaries.included.scalar_type() != at::kBool) {
    throw InputError(fmt::format("{}: has to hold images [K, {}] float32, labels [K] int64 and included [K] bool",
                                 file.string(), training.images.size(1)));
  }
  std::set<std::string> trained_on;
  for (std::int64_t i = 0; i < training.images.size(0); ++i) trained_on.insert(bytes_of(training.images[i]));
  for (std::int64_t i = 0; i < count; ++i) {
    const bool in = canaries.included[i].item<bool>();
    if (in == (trained_on.count(bytes_of(canaries.images[i])) > 0)) continue;
    throw InputError(
        fmt::format("{}: its coins are not those of the training set: canary {} (the first is 0) is said "
                    "to be {} and is {}; give the files of one run",
                    file.string(), i, in ? "in" : "out", in ? "out" : "in"));
  }
  constexpr std::int64_t fewest = 4;
  const std::int64_t in = canaries.included.sum().item<std::int64_t>();
  if (in < fewest || count - in < fewest) {
    throw InputError(fmt::format("{}: {} canaries are in and {} out; at least {} of each are needed", file.string(), in,
                                 count - in, fewest));
  }
  return canaries;
}

}  // namespace afterimage
