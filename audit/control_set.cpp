#include "audit/control_set.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "models/data/sources.h"
#include "models/data/split.h"
#include "models/foundations/error.h"

namespace afterimage {
namespace {

constexpr std::int64_t fewest_control_images = 20;
constexpr std::int64_t most_background_images = 200;

// Named by the user as not trained on: an overlap is a mistake, and must not be skipped silently.
LabelledImages apart_from(const Tensor& training, LabelledImages control, const std::string& name) {
  constexpr std::size_t shown = 10;
  const std::int64_t all = control.size();
  auto [kept, dropped] = without_copies(training, std::move(control), name);
  if (!dropped.empty()) {
    const std::vector<std::int64_t> first(dropped.begin(), dropped.begin() + std::min(dropped.size(), shown));
    kept.notes.push_back(
        fmt::format("{} of {} images are training images or near copies of them, and left out (rows "
                    "{}{}, the first is 0)",
                    dropped.size(), all, fmt::join(first, ", "), dropped.size() > shown ? ", ..." : ""));
  }
  return std::move(kept);
}

}  // namespace

Tensor support_pixels(const std::string& file, const ModelDescription& model) {
  if (file.empty()) return {};
  Tensor pixels = load_images("npz:" + file).images.flatten(1);
  if (pixels.size(1) == model.inputs()) return pixels;
  throw InputError(
      fmt::format("{}: its images have {} pixels but the model takes {}; a run directory has to hold what "
                  "`afterimage train` wrote",
                  file, pixels.size(1), model.inputs()));
}

ControlSet load_control(const ControlRequest& request, const std::string& source,
                        const std::vector<std::string>& class_names, const std::vector<std::string>& columns,
                        const Task& task, const TrainingSet& training, const Tensor& support,
                        const ModelDescription& model, Generator& random) {
  const bool given = !request.data.empty();
  LabelledImages all = load_images(given ? request.data : source, model.preprocessing);
  match_classes(all, class_names);
  match_columns(all, columns, "the training set");
  std::int64_t dimension = 1;
  for (const auto size : all.image_shape()) dimension *= size;
  if (dimension != model.inputs()) {
    throw InputError(
        fmt::format("{}: control images have {} pixels but the model takes {}", all.source, dimension, model.inputs()));
  }
  require_layout(all.image_shape(), model.input_shape, all.source);
  const Tensor pixels = training.pixels();
  constexpr double same_scale = 20;  // bytes divided by 255 on one side alone
  const double ours = pixels.max().item<double>(), theirs = all.images.max().item<double>();
  if (given && ours > 0 && theirs > 0 && (ours > same_scale * theirs || theirs > same_scale * ours)) {
    throw InputError(
        fmt::format("{}: its largest value is {:.3g} and that of the training set {:.3g}; scale both in the same way",
                    request.data, theirs, ours));
  }
  if (given) all = apart_from(pixels, std::move(all), request.data);
  if (given && support.defined()) {
    const std::int64_t count = all.size();
    auto [kept, dropped] = without_images(support, std::move(all));
    all = std::move(kept);
    if (!dropped.empty()) {
      all.notes.push_back(fmt::format("{} of {} images are among those that the defence trained on, and left out",
                                      dropped.size(), count));
    }
  }
  const Tensor trained_on = support.defined() ? at::cat({pixels, support}) : pixels;
  const LabelledImages drawn = draw_control(all, task, trained_on, request.count + most_background_images, random);
  const std::int64_t count = std::min(request.count, drawn.size());
  LabelledImages control = drawn.select(at::arange(count, at::kLong));
  if (const std::string note = task.note_on_absent(all.labels); !note.empty()) control.notes.push_back(note);
  if (control.size() < std::min(request.count, all.size())) {
    control.notes.push_back(fmt::format("{} of {} images are of the task's classes and different from one another",
                                        control.size(), all.size()));
  }
  if (control.size() < fewest_control_images) {
    throw InputError(fmt::format("{}: has only {} images that were not trained on; a control set needs at least {}",
                                 all.source, control.size(), fewest_control_images));
  }
  return {std::move(control), drawn.select(at::arange(count, drawn.size(), at::kLong))};
}

}  // namespace afterimage
