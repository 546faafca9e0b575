#include <fmt/format.h>
#include <fmt/ranges.h>

#include "models/data/sources.h"
#include "models/formats/idx.h"
#include "models/formats/npz.h"
#include "models/foundations/error.h"

namespace afterimage {
namespace {

Tensor checked_pixels(const Tensor& raw, const std::string& file) {
  if (raw.scalar_type() == at::kByte) {
    const bool two_valued = raw.numel() > 0 && raw.max().item<int>() <= 1;  // as in a training set of such bytes
    return two_valued ? raw.to(at::kFloat) : raw.to(at::kFloat).div_(255);
  }
  if (!raw.is_floating_point()) throw InputError(file + ": images have to be bytes or floating point");
  if (raw.numel() == 0) return raw.to(at::kFloat);
  Tensor images = raw.to(at::kFloat);
  if (!at::isfinite(images).all().item<bool>()) throw InputError(file + ": images hold NaN or infinity");
  const float low = images.min().item<float>(), high = images.max().item<float>();
  // Undoing a normalisation leaves as much.
  constexpr float rounding = 1e-6F;
  if (low < -rounding || high > 1 + rounding) {
    throw InputError(fmt::format("{}: pixels go from {:.3g} to {:.3g}; floating-point images have to lie in [0, 1]",
                                 file, low, high));
  }
  return images.clamp(0, 1);
}

Tensor finite_floats(const Array& array, const char* name, const std::string& file) {
  const Tensor values = to_tensor(array);
  if (!values.is_floating_point() || !at::isfinite(values).all().item<bool>()) {
    throw InputError(fmt::format("{}: {} has to be floating point without NaN or infinity", file, name));
  }
  return values.to(at::kFloat);
}

// The arrays that only a distilled set has.
void read_distilled(LabelledImages& set, const NamedArrays& arrays, const std::string& file) {
  const std::int64_t images = set.size(), pixels = images > 0 ? set.images[0].numel() : 0;
  if (const Array* targets = find(arrays, "targets")) {
    set.targets = finite_floats(*targets, "targets", file);
    if (set.targets.dim() != 2 || set.targets.size(0) != images || set.targets.size(1) < 1) {
      throw InputError(fmt::format("{}: targets have to be [{}, outputs]", file, images));
    }
  }
  for (const auto& [name, to] : {std::pair{"mean", &set.mean}, {"scale", &set.scale}}) {
    const Array* array = find(arrays, name);
    if (array == nullptr) continue;
    *to = finite_floats(*array, name, file).flatten();
    if (to->numel() != pixels) {
      throw InputError(
          fmt::format("{}: {} has {} numbers; it needs one for each pixel, {}", file, name, to->numel(), pixels));
    }
  }
  if (set.scale.defined() && set.scale.min().item<double>() <= 0) {
    throw InputError(file + ": the scale has to be above zero everywhere");
  }
}

}  // namespace

Tensor checked_labels(const Tensor& raw, std::int64_t images, const std::string& file) {
  Tensor labels = raw.dim() == 2 && raw.size(1) == 1 ? raw.squeeze(1) : raw;
  if (labels.dim() == 2 && labels.size(0) == images && labels.numel() > 0) {
    const Tensor ones = labels == 1, zeros = labels == 0;
    if (!ones.logical_or(zeros).all().item<bool>() || !(ones.sum(1) == 1).all().item<bool>()) {
      throw InputError(file + ": labels of rank 2 have to be one-hot; give one class for each image");
    }
    labels = ones.to(at::kByte).argmax(1);
  }
  if (labels.dim() != 1 || labels.size(0) != images) {
    throw InputError(fmt::format("{}: labels are [{}] for {} images; each image needs one class, or a one-hot row",
                                 file, fmt::join(raw.sizes(), ", "), images));
  }
  Tensor whole = labels.to(at::kLong);
  if (labels.is_floating_point() && !at::equal(whole.to(labels.scalar_type()), labels)) {
    throw InputError(file + ": labels have to be whole numbers");
  }
  if (images > 0 && (whole.min().item<std::int64_t>() < 0 || whole.max().item<std::int64_t>() > 65535)) {
    throw InputError(file + ": labels have to be classes from 0 to 65535");
  }
  return whole;
}

LabelledImages load_idx(const std::string& images_file, const std::string& labels_file) {
  const Array images = read_idx(images_file), labels = read_idx(labels_file);
  if (images.shape.size() < 2)
    throw InputError(images_file + ": holds labels, not images; give IMAGES,LABELS in that order");
  const bool column = labels.shape.size() == 2 && labels.shape[1] == 1;
  if (labels.shape.size() != 1 && !column)
    throw InputError(labels_file + ": holds images, not labels; give IMAGES,LABELS in that order");
  const Tensor pixels = checked_pixels(to_tensor(images), images_file);
  return {pixels, checked_labels(to_tensor(labels), pixels.size(0), labels_file), "", {images_file, labels_file}};
}

LabelledImages load_npz(const std::string& file) {
  const ArrayFile content = read_npz_file(file);
  require_images_and_labels(content, "a data set", file);
  const NamedArrays& arrays = content.arrays;
  const Array *images = find(arrays, "images"), *labels = find(arrays, "labels");
  if (images->shape.size() < 2 || images->shape.size() > 4) {
    throw InputError(fmt::format("{}: images have rank {}; they have to be [n, h, w], [n, h, w, c] or [n, d]", file,
                                 images->shape.size()));
  }
  const Tensor pixels = checked_pixels(to_tensor(*images), file);
  LabelledImages set{pixels, checked_labels(to_tensor(*labels), pixels.size(0), file), "", {file}};
  if (labels->shape.size() == 2 && labels->shape[1] > 1) {
    set.notes.push_back(fmt::format("labels are one-hot rows of {} columns", labels->shape[1]));
  }
  set.notes.insert(set.notes.end(), content.notes.begin(), content.notes.end());
  if (!content.passed_over.empty()) set.notes.push_back(passed_over_text(content.passed_over));
  if (find(arrays, "targets") != nullptr) {
    read_distilled(set, arrays, file);
    set.notes.emplace_back("a distilled set: its own targets are trained on in place of the labels'");
  }
  return set;
}

}  // namespace afterimage
