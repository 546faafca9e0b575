#include "models/data/labelled_images.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <functional>

#include "models/data/sources.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

constexpr const char* fashion_mnist_folder = "/usr/share/datasets/fashion-mnist/";

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
  throw UsageError(
      fmt::format("--task {}: classes have to be whole numbers with commas between them; classes with names are "
                  "numbered in the order of these",
                  task));
}

Tensor is_one_of(const Tensor& labels, const std::vector<std::int64_t>& classes) {
  return at::isin(labels, at::tensor(classes, at::kLong));
}

std::string text_of_classes(const std::vector<std::int64_t>& classes) {
  std::vector<std::string> texts;
  for (const auto label : classes) texts.push_back(std::to_string(label));
  return fmt::format("class{} {}", classes.size() == 1 ? "" : "es", listed(texts, most_listed));
}

}  // namespace

std::vector<std::int64_t> LabelledImages::image_shape() const { return images.sizes().slice(1).vec(); }

LabelledImages LabelledImages::select(const Tensor& rows) const {
  LabelledImages chosen{images.index_select(0, rows), labels.index_select(0, rows), source, files};
  if (targets.defined()) chosen.targets = targets.index_select(0, rows);
  chosen.mean = mean;
  chosen.scale = scale;
  chosen.class_names = class_names;
  chosen.columns = columns;
  chosen.notes = notes;
  return chosen;
}

namespace {

// load_folder() applies the preprocessing itself.
LabelledImages load_source(const std::string& data, const Preprocessing& preprocessing) {
  if (data == "fashion-mnist") {
    const std::string folder = fashion_mnist_folder;
    if (!std::filesystem::is_directory(folder)) {
      throw InputError("fashion-mnist: " + folder + " is missing; install Debian's package dataset-fashion-mnist");
    }
    return load_idx(folder + "train-images-idx3-ubyte.gz", folder + "train-labels-idx1-ubyte.gz");
  }
  for (const std::string ending : {"csv", "npz"}) {
    std::error_code ignored;
    const bool is_file = data.ends_with("." + ending) && std::filesystem::is_regular_file(data, ignored);
    if (is_file) return load_source(ending + ":" + data, preprocessing);
  }
  const auto colon = data.find(':');
  const std::string kind = data.substr(0, colon), where = colon == std::string::npos ? "" : data.substr(colon + 1);
  if (kind == "idx" && !where.empty()) {
    const auto comma = where.find(',');
    if (comma == std::string::npos) throw UsageError(fmt::format("data \"{}\": has to be idx:IMAGES,LABELS", data));
    return load_idx(where.substr(0, comma), where.substr(comma + 1));
  }
  if (kind == "npz" && !where.empty()) return load_npz(where);
  if (kind == "folder" && !where.empty()) return load_folder(where, preprocessing);
  if (kind == "cifar10" && !where.empty()) return load_cifar10(where);
  if (kind == "cifar100" && !where.empty()) return load_cifar100(where);
  if (kind == "csv" && !where.empty()) return load_csv(where);
  throw UsageError(fmt::format("data \"{}\": unknown kind; use {}", data, data_kinds));
}

Tensor all_prepared(const Tensor& images, const Preprocessing& preprocessing, const std::string& file) {
  const Tensor first = prepared(images[0], preprocessing, file);
  Tensor result = room_for(images.size(0), first, file);
  for (std::int64_t i = 0; i < images.size(0); ++i) {
    result.select(0, i).copy_(prepared(images[i], preprocessing, file));
  }
  return result;
}

}  // namespace

LabelledImages load_images(const std::string& data, const Preprocessing& preprocessing) {
  LabelledImages loaded = load_source(data, preprocessing);
  if (loaded.images.numel() == 0) throw InputError(loaded.files.front() + ": holds no images");
  if (preprocessing.any() && loaded.mean.defined()) {
    throw UsageError(data + ": is a distilled set, whose images cannot be preprocessed; leave out --grey and --resize");
  }
  if (preprocessing.any() && loaded.is_sequences()) {
    throw UsageError(data + ": holds sequences, which are no pictures; leave out --grey and --resize");
  }
  if (preprocessing.any()) loaded.images = all_prepared(loaded.images, preprocessing, loaded.files.front());
  loaded.source = data;
  const auto counts = count_notes(loaded);
  loaded.notes.insert(loaded.notes.begin(), counts.begin(), counts.end());
  return loaded;
}

Tensor room_for(std::int64_t count, const Tensor& first, const std::string& file) {
  constexpr std::int64_t most_numbers = (std::int64_t{1} << 33) / sizeof(float);
  if (count > most_numbers / first.numel()) {
    throw InputError(fmt::format("{}: {} pictures of {} pixels take more than 8 GiB; give a smaller --resize", file,
                                 count, fmt::join(first.sizes(), " x ")));
  }
  std::vector<std::int64_t> shape = first.sizes().vec();
  shape.insert(shape.begin(), count);
  return at::empty(shape, at::kFloat);
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
  if (rows.numel() == 0) {
    throw InputError(fmt::format("--task {}: the data has no image of these classes; it has {}", text_,
                                 text_of_classes(classes_in(labels))));
  }
  return rows;
}

void Task::require_all_of_task(const Tensor& labels, const std::string& file) const {
  if (kind_ != Kind::two_sets) return;
  std::vector<std::int64_t> outside;
  for (const auto label : classes_in(labels)) {
    const auto is_label = [&](std::int64_t named) { return named == label; };
    if (std::none_of(minus_.begin(), minus_.end(), is_label) && std::none_of(plus_.begin(), plus_.end(), is_label)) {
      outside.push_back(label);
    }
  }
  if (outside.empty()) return;
  throw InputError(fmt::format(
      "{}: has images of {}, of which the task {} knows nothing; leave them out where they were not trained "
      "on, or name the classes of the task as the labels do",
      file, text_of_classes(outside), text_));
}

void Task::require_sides(const Tensor& labels) const {
  const auto present = classes_in(labels);
  const auto fail = [&](const std::string& what) {
    throw UsageError(fmt::format("--task {}: {}; the data have {}", text_, what, text_of_classes(present)));
  };
  const auto lacks = [&](const std::function<bool(std::int64_t)>& is_on_side) {
    return std::none_of(present.begin(), present.end(), is_on_side);
  };
  switch (kind_) {
    case Kind::multiclass:
      if (present.size() < 2) fail("needs images of two classes");
      return;
    case Kind::odd_even:
      for (const auto& [side, remainder] : {std::pair{"even class (the side -1)", 0}, {"odd class (the side +1)", 1}}) {
        if (lacks([&](std::int64_t label) { return label % 2 == remainder; }))
          fail(fmt::format("no image is of an {}", side));
      }
      return;
    case Kind::two_sets:
      for (const auto& [side, classes] : {std::pair{-1, &minus_}, {1, &plus_}}) {
        const auto is_on_side = [&](std::int64_t label) {
          return std::find(classes->begin(), classes->end(), label) != classes->end();
        };
        if (lacks(is_on_side)) fail(fmt::format("no image is of {} (the side {:+})", text_of_classes(*classes), side));
      }
      return;
  }
}

std::string Task::note_on_absent(const Tensor& labels) const {
  const auto present = classes_in(labels);
  std::vector<std::int64_t> absent;
  for (const auto* side : {&minus_, &plus_}) {
    for (const auto label : *side) {
      if (std::find(present.begin(), present.end(), label) == present.end()) absent.push_back(label);
    }
  }
  return absent.empty() ? "" : fmt::format("the task's {} has no image", text_of_classes(absent));
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
