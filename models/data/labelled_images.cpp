#include "models/data/labelled_images.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "models/base/error.h"
#include "models/base/files.h"
#include "models/base/idx.h"
#include "models/base/npz.h"

namespace afterimage {
namespace {

constexpr const char* fashion_mnist_folder = "/usr/share/datasets/fashion-mnist/";

Tensor checked_pixels(const Tensor& raw, const std::string& file) {
  if (raw.scalar_type() == at::kByte) return raw.to(at::kFloat).div_(255);
  if (!raw.is_floating_point()) throw InputError(file + ": images have to be bytes or floating point");
  if (raw.numel() == 0) return raw.to(at::kFloat);
  Tensor images = raw.to(at::kFloat);
  if (!at::isfinite(images).all().item<bool>()) throw InputError(file + ": images hold NaN or infinity");
  const float low = images.min().item<float>(), high = images.max().item<float>();
  if (low < 0 || high > 1) {
    throw InputError(fmt::format("{}: pixels go from {:.3g} to {:.3g}; floating-point images have to lie in [0, 1]",
                                 file, low, high));
  }
  return images;
}

Tensor checked_labels(const Tensor& raw, std::int64_t images, const std::string& file) {
  Tensor labels = raw;
  if (labels.dim() == 2 && labels.size(0) == images && labels.numel() > 0) {
    const Tensor ones = labels == 1, zeros = labels == 0;
    if (!ones.logical_or(zeros).all().item<bool>() || !(ones.sum(1) == 1).all().item<bool>()) {
      throw InputError(file + ": labels of rank 2 have to be one-hot; give one class for each image");
    }
    labels = ones.to(at::kByte).argmax(1);
  }
  if (labels.dim() != 1 || labels.size(0) != images) {
    throw InputError(fmt::format("{}: has {} labels for {} images; each image needs one", file,
                                 raw.dim() == 0 ? 0 : raw.size(0), images));
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
  if (labels.shape.size() != 1)
    throw InputError(labels_file + ": holds images, not labels; give IMAGES,LABELS in that order");
  const Tensor pixels = checked_pixels(to_tensor(images), images_file);
  return {pixels, checked_labels(to_tensor(labels), pixels.size(0), labels_file), "", {images_file, labels_file}};
}

LabelledImages load_npz(const std::string& file) {
  const NamedArrays arrays = read_npz(file);
  const Array *images = find(arrays, "images"), *labels = find(arrays, "labels");
  if (images == nullptr || labels == nullptr) {
    throw InputError(file + ": has no arrays named images and labels, which a data set needs");
  }
  if (images->shape.size() < 2 || images->shape.size() > 4) {
    throw InputError(fmt::format("{}: images have rank {}; they have to be [n, h, w], [n, h, w, c] or [n, d]", file,
                                 images->shape.size()));
  }
  const Tensor pixels = checked_pixels(to_tensor(*images), file);
  return {pixels, checked_labels(to_tensor(*labels), pixels.size(0), file), "", {file}};
}

std::vector<std::int64_t> parse_classes(const std::string& task, std::string_view text) {
  std::vector<std::int64_t> classes;
  while (!text.empty()) {
    std::int64_t label = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), label);
    if (error != std::errc() || label < 0) break;
    classes.push_back(label);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (text.empty()) return classes;
    if (text.front() != ',') break;
    text.remove_prefix(1);
  }
  throw UsageError(fmt::format("--task {}: classes have to be whole numbers with commas between them", task));
}

Tensor is_one_of(const Tensor& labels, const std::vector<std::int64_t>& classes) {
  return at::isin(labels, at::tensor(classes, at::kLong));
}

}  // namespace

std::vector<std::int64_t> LabelledImages::image_shape() const { return images.sizes().slice(1).vec(); }

LabelledImages LabelledImages::select(const Tensor& rows) const {
  return {images.index_select(0, rows), labels.index_select(0, rows), source, files};
}

LabelledImages load_images(const std::string& data) {
  LabelledImages loaded;
  if (data == "fashion-mnist") {
    const std::string folder = fashion_mnist_folder;
    if (!std::filesystem::is_directory(folder)) {
      throw InputError("fashion-mnist: " + folder + " is missing; install Debian's package dataset-fashion-mnist");
    }
    loaded = load_idx(folder + "train-images-idx3-ubyte.gz", folder + "train-labels-idx1-ubyte.gz");
  } else if (data.starts_with("idx:")) {
    const auto comma = data.find(',');
    if (comma == std::string::npos) throw UsageError(fmt::format("data \"{}\": has to be idx:IMAGES,LABELS", data));
    loaded = load_idx(data.substr(4, comma - 4), data.substr(comma + 1));
  } else if (data.starts_with("npz:")) {
    loaded = load_npz(data.substr(4));
  } else {
    throw UsageError(fmt::format("data \"{}\": unknown kind; use fashion-mnist, idx:IMAGES,LABELS or npz:FILE", data));
  }
  if (loaded.images.numel() == 0) throw InputError(loaded.files.front() + ": holds no images");
  loaded.source = data;
  return loaded;
}

std::string pixel_hash(const Tensor& image) {
  const Tensor bytes = image.to(at::kFloat).mul(255).round().clamp(0, 255).to(at::kByte).contiguous();
  const auto* data = static_cast<const char*>(bytes.data_ptr());
  return sha256_of({data, static_cast<std::size_t>(bytes.numel())}).substr(0, 16);
}

Task Task::parse(const std::string& text) {
  Task task;
  task.text_ = text;
  if (text == "odd-even") {
    task.kind_ = Kind::odd_even;
    return task;
  }
  if (text == "multiclass") {
    task.kind_ = Kind::multiclass;
    return task;
  }
  task.kind_ = Kind::two_sets;
  if (text.starts_with("classes:")) {
    const auto classes = parse_classes(text, std::string_view(text).substr(8));
    if (classes.size() != 2)
      throw UsageError(fmt::format("--task {}: has to name two classes, as in classes:3,8", text));
    task.minus_ = {classes[0]};
    task.plus_ = {classes[1]};
  } else if (const auto bar = text.find('|'); text.starts_with("groups:") && bar != std::string::npos) {
    task.minus_ = parse_classes(text, std::string_view(text).substr(7, bar - 7));
    task.plus_ = parse_classes(text, std::string_view(text).substr(bar + 1));
  } else {
    throw UsageError(fmt::format("--task {}: has to be odd-even, classes:A,B, groups:A,B|C,D or multiclass", text));
  }
  for (const auto label : task.plus_) {
    if (std::find(task.minus_.begin(), task.minus_.end(), label) != task.minus_.end()) {
      throw UsageError(fmt::format("--task {}: class {} is on both sides", text, label));
    }
  }
  return task;
}

std::int64_t Task::outputs(const Tensor& labels) const {
  return kind_ == Kind::multiclass ? labels.max().item<std::int64_t>() + 1 : 1;
}

Tensor Task::rows(const Tensor& labels) const {
  const Tensor chosen = kind_ == Kind::two_sets ? is_one_of(labels, minus_).logical_or(is_one_of(labels, plus_))
                                                : at::ones_like(labels, at::kBool);
  Tensor rows = at::nonzero(chosen).squeeze(1);
  if (rows.numel() == 0) throw InputError(fmt::format("--task {}: the data has no image of these classes", text_));
  return rows;
}

Tensor Task::targets(const Tensor& labels, std::int64_t outputs) const {
  switch (kind_) {
    case Kind::odd_even:
      return (labels.remainder(2) * 2 - 1).to(at::kFloat).unsqueeze(1);
    case Kind::two_sets:
      return (is_one_of(labels, plus_).to(at::kFloat) * 2 - 1).unsqueeze(1);
    case Kind::multiclass: {
      if (labels.numel() > 0 && labels.max().item<std::int64_t>() >= outputs) {
        throw InputError(fmt::format("--task multiclass: label {} is outside the network's {} outputs",
                                     labels.max().item<std::int64_t>(), outputs));
      }
      return at::one_hot(labels, outputs).to(at::kFloat);
    }
  }
  throw std::logic_error("unknown task");
}

}  // namespace afterimage
