#include "audit/drawn_data.h"

#include <fmt/format.h>

#include <algorithm>

#include "audit/context.h"
#include "models/data/split.h"
#include "models/foundations/error.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

constexpr std::int64_t held_out_images = 2000;  // for the public mean, and as many others for the test accuracy

// One side of MEAN,STD, spread over the pixels.
Tensor constants(const std::string& option, std::string_view text, double low, double high,
                 const std::vector<std::int64_t>& shape) {
  std::vector<double> values;
  bool numbers = true;
  for (bool more = true; more && numbers;) {
    const auto end = std::min(text.find('/'), text.size());
    const auto value = number_in(text.substr(0, end));
    numbers = value && *value >= low && *value <= high;
    values.push_back(value.value_or(0));
    more = end < text.size();
    text.remove_prefix(more ? end + 1 : end);
  }
  const Tensor spread = numbers ? per_pixel(at::tensor(values, at::kDouble), shape) : Tensor();
  if (!spread.defined() || values.size() > 4) {
    throw UsageError(
        fmt::format("--normalize {}: has to be MEAN,STD of pixels in [0, 1], each one number or one for "
                    "each channel, as in 0.5,0.25 or 0.49/0.48/0.45,0.25/0.24/0.26",
                    option));
  }
  return spread;
}

void set_normalization(ImageSpace& space, const std::string& option) {
  constexpr double smallest = 1e-4;  // a smaller standard deviation makes inputs too large to train on in float32
  const std::size_t comma = option.find(',');
  const std::string_view text = option, rest = comma == std::string::npos ? "" : text.substr(comma + 1);
  space.mean = constants(option, text.substr(0, comma), 0, 1, space.shape);
  space.scale = constants(option, rest, smallest, 1, space.shape);
}

void add_canaries(DrawnData& data, const LabelledImages& records, const LabelledImages& all, const Task& task,
                  std::int64_t seed) {
  Generator random = seeded(stage_seed(seed, "canaries"));
  const Tensor classes = std::get<0>(at::_unique2(all.labels.index_select(0, task.rows(all.labels))));
  TrainingSet& training = data.training;
  data.canaries = make_canaries(records, training.space.inputs(records.images.flatten(1)), classes, task, random);
  const auto [images, labels] = data.canaries.part(true);
  training.images = at::cat({training.images, images});
  training.labels = at::cat({training.labels, labels});
  data.targets = at::cat({data.targets, task.targets(labels, data.targets.size(1))});
}

}  // namespace

void require_drawable(std::int64_t samples, const InputRequest& inputs) {
  if (!inputs.normalize.empty() && !inputs.mean.empty()) {
    throw UsageError("--mean: --normalize is given as well, and subtracts a mean of its own; leave one of them out");
  }
  if (samples < 1) throw UsageError(fmt::format("--samples {}: has to be at least 1", samples));
  if (!inputs.mean.empty() && inputs.mean != "training" && inputs.mean != "public" && inputs.mean != "none") {
    throw UsageError(fmt::format("--mean {}: has to be training, public or none", inputs.mean));
  }
  if (inputs.canaries > 0 && inputs.normalize.empty() && inputs.mean != "public" && inputs.mean != "none") {
    throw UsageError(
        "--canaries: the mean of the training images would tell the coins; give --mean public, --mean none or "
        "--normalize as well");
  }
}

DrawnData draw_data(const std::string& data, const Task& task, std::int64_t samples, const InputRequest& inputs,
                    std::int64_t seed) {
  require_drawable(samples, inputs);
  return draw_data(load_images(data, inputs.preprocessing), data, task, samples, inputs, seed);
}

DrawnData draw_data(const LabelledImages& all, const std::string& data, const Task& task, std::int64_t samples,
                    const InputRequest& inputs, std::int64_t seed) {
  // A distilled set contains the mean that was subtracted.
  const bool says_mean = all.mean.defined() && inputs.mean.empty() && inputs.normalize.empty();
  const std::string mean_kind = inputs.mean.empty() ? "training" : inputs.mean;
  Generator random = seeded(stage_seed(seed, "training set"));
  const LabelledImages chosen = all.select(draw_training_rows(all, task, samples, random));
  const Tensor pixels = chosen.images.flatten(1);
  const LabelledImages unseen = draw_control(all, task, pixels, inputs.canaries + 2 * held_out_images, random);
  if (unseen.size() < inputs.canaries || (inputs.canaries > 0 && all.targets.defined())) {
    throw UsageError(fmt::format("--canaries {}: {}", inputs.canaries,
                                 all.targets.defined()
                                     ? "a distilled set has targets of its own, and no wrong labels"
                                     : fmt::format("the data has only {} other images for this task", unseen.size())));
  }
  const LabelledImages others = unseen.select(at::arange(inputs.canaries, unseen.size(), at::kLong));
  const Tensor other_pixels = others.images.flatten(1);
  const std::int64_t half = others.size() / 2, outputs = task.outputs(all.labels);

  DrawnData result;
  result.notes = all.notes;
  if (const std::string note = task.note_on_absent(all.labels); !note.empty()) result.notes.push_back(note);
  result.class_names = all.class_names;
  result.columns = all.columns;
  TrainingSet& training = result.training;
  training.labels = chosen.labels;
  ImageSpace& space = training.space;
  space.shape = all.image_shape();
  space.named = !all.columns.empty();
  space.mean = at::zeros({pixels.size(1)});
  if (says_mean) {
    space.mean = all.mean;
    space.scale = all.scale;
    result.mean_of_training = true;
  } else if (!inputs.normalize.empty()) {
    set_normalization(space, inputs.normalize);
  } else if (mean_kind == "training") {
    space.mean = pixels.mean(0);
    result.mean_of_training = true;
  } else if (mean_kind == "public") {
    if (half < 1)
      throw UsageError("--mean public: the data has no images outside the training set; use training or none");
    space.mean = other_pixels.narrow(0, 0, half).mean(0);
  }
  training.images = space.inputs(pixels);
  result.targets = chosen.targets.defined() ? chosen.targets : task.targets(chosen.labels, outputs);
  if (result.targets.size(1) != outputs) {
    throw InputError(fmt::format("{}: targets have {} columns but --task {} has {} outputs", data,
                                 result.targets.size(1), task.text(), outputs));
  }
  if (inputs.canaries > 0) add_canaries(result, unseen.select(at::arange(inputs.canaries, at::kLong)), all, task, seed);
  result.others = space.inputs(other_pixels.narrow(0, 0, half));
  result.others_targets = task.targets(others.labels.narrow(0, 0, half), outputs);
  result.held_out = space.inputs(other_pixels.narrow(0, half, others.size() - half));
  result.held_out_targets = task.targets(others.labels.narrow(0, half, others.size() - half), outputs);
  return result;
}

}  // namespace afterimage
