#include "models/data/split.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "models/foundations/error.h"

namespace afterimage {
namespace {

constexpr double near_copy = 0.05;  // relative L2
constexpr std::int64_t images_at_once = 4096;
constexpr std::size_t most_named = 1000;

std::unordered_set<std::string> hashes_of(const Tensor& images) {
  std::unordered_set<std::string> hashes;
  for (std::int64_t i = 0; i < images.size(0); ++i) hashes.insert(pixel_hash(images[i]));
  return hashes;
}

// Which of `images` are within `near_copy` of a training image, relative to its distance from the mean; [n] bool.
Tensor near_copies(const Tensor& images, const Tensor& training) {
  const Tensor seen = training.flatten(1).to(at::kFloat), mean = seen.mean(0);
  const Tensor t = seen - mean, size = t.norm(2, 1);
  std::vector<Tensor> near;
  for (const auto& part : images.flatten(1).split(images_at_once)) {
    const auto [distance, row] = at::cdist(part.to(at::kFloat) - mean, t).min(1);
    near.push_back(distance < near_copy * size.index_select(0, row));
  }
  return at::cat(near);
}

// The rows of `control` that are training images or copies of them.
std::vector<std::int64_t> copies_in(const Tensor& training, const Tensor& control) {
  std::vector<std::int64_t> copies;
  if (control.size(0) == 0) return copies;
  const auto hashes = hashes_of(training);
  const Tensor near = near_copies(control, training);
  for (std::int64_t i = 0; i < control.size(0); ++i) {
    if (near[i].item<bool>() || hashes.count(pixel_hash(control[i])) > 0) copies.push_back(i);
  }
  return copies;
}

InputError overlap(const std::vector<std::int64_t>& copies, std::int64_t size, const std::string& control_name) {
  const std::vector<std::int64_t> first(copies.begin(), copies.begin() + std::min(copies.size(), most_named));
  return InputError(fmt::format(
      "{}: {} of its {} images are training images or near copies of them (rows {}{}, the first is 0); a "
      "control set has to be images that were never trained on: leave them out",
      control_name, copies.size(), size, fmt::join(first, ", "), copies.size() > most_named ? ", ..." : ""));
}

Tensor shuffled(const Tensor& rows, Generator& random) {
  return rows.index_select(0, at::randperm(rows.size(0), random, at::kLong));
}

}  // namespace

Tensor draw_training_rows(const LabelledImages& all, const Task& task, std::int64_t samples, Generator& random) {
  if (!all.targets.defined()) task.require_sides(all.labels);
  const Tensor rows = shuffled(task.rows(all.labels), random);
  const Tensor labels = all.labels.index_select(0, rows);
  const std::int64_t outputs = task.outputs(all.labels);
  const Tensor targets = task.targets(labels, outputs);
  const Tensor sides = outputs == 1 ? (targets.squeeze(1) > 0).to(at::kLong) : targets.argmax(1);
  std::map<std::int64_t, std::vector<std::int64_t>> by_side;
  for (std::int64_t i = 0; i < rows.size(0); ++i) {
    by_side[sides[i].item<std::int64_t>()].push_back(rows[i].item<std::int64_t>());
  }
  std::vector<std::int64_t> chosen;
  for (std::size_t depth = 0; static_cast<std::int64_t>(chosen.size()) < samples; ++depth) {
    const auto before = chosen.size();
    for (const auto& [side, candidates] : by_side) {
      if (depth < candidates.size() && static_cast<std::int64_t>(chosen.size()) < samples)
        chosen.push_back(candidates[depth]);
    }
    if (chosen.size() == before) {
      throw UsageError(fmt::format("--samples {}: the data has only {} images for this task", samples, before));
    }
  }
  return at::tensor(chosen, at::kLong);
}

LabelledImages draw_control(const LabelledImages& all, const Task& task, const Tensor& training, std::int64_t count,
                            Generator& random) {
  auto taken = hashes_of(training);
  const Tensor rows = shuffled(task.rows(all.labels), random);
  std::vector<std::int64_t> chosen;
  for (std::int64_t i = 0; i < rows.size(0) && static_cast<std::int64_t>(chosen.size()) < count;) {
    std::vector<std::int64_t> others;
    for (; i < rows.size(0) && static_cast<std::int64_t>(chosen.size() + others.size()) < count; ++i) {
      const auto row = rows[i].item<std::int64_t>();
      if (taken.insert(pixel_hash(all.images[row])).second) others.push_back(row);
    }
    if (others.empty()) break;
    const Tensor near = near_copies(all.images.index_select(0, at::tensor(others, at::kLong)), training);
    for (std::size_t k = 0; k < others.size(); ++k) {
      if (!near[static_cast<std::int64_t>(k)].item<bool>()) chosen.push_back(others[k]);
    }
  }
  return all.select(at::tensor(chosen, at::kLong));
}

namespace {

Disjoint without_rows(LabelledImages control, std::vector<std::int64_t> rows) {
  if (rows.empty()) return {std::move(control), {}};
  Tensor keep = at::ones({control.size()}, at::kBool);
  keep.index_fill_(0, at::tensor(rows, at::kLong), 0);
  return {control.select(at::nonzero(keep).squeeze(1)), std::move(rows)};
}

}  // namespace

Disjoint without_images(const Tensor& images, LabelledImages control) {
  auto copies = copies_in(images, control.images);
  return without_rows(std::move(control), std::move(copies));
}

Disjoint without_copies(const Tensor& training, LabelledImages control, const std::string& control_name) {
  // Rows of a table with few columns are alike by chance, pictures are not.
  const std::int64_t least_per_copy = control.images.dim() == 2 ? 2 : 10;
  auto copies = copies_in(training, control.images);
  const std::int64_t size = control.size(), count = static_cast<std::int64_t>(copies.size());
  if (count * least_per_copy > size) throw overlap(copies, size, control_name);
  return without_rows(std::move(control), std::move(copies));
}

}  // namespace afterimage
