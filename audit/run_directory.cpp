#include "audit/run_directory.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <numeric>

#include "models/data/sources.h"
#include "models/dense_layers.h"
#include "models/formats/npz.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/json.h"
#include "models/foundations/text.h"
#include "models/mlp.h"
#include "models/scripted_network.h"

namespace afterimage {
namespace {

constexpr std::uint64_t largest_json = 64 << 20;
constexpr const char* model_schema = "afterimage.model/1";
constexpr std::int64_t largest_input = 1 << 20;

std::string text_in(const Json& document, const char* key, const std::string& file) {
  const auto found = document.find(key);
  if (found == document.end() || !found->is_string())
    throw InputError(fmt::format("{}: {} has to be a string", file, key));
  return found->get<std::string>();
}

Tensor finite(const Tensor& tensor, const char* name, const std::string& file) {
  Tensor values = tensor.to(at::kFloat);
  if (!at::isfinite(values).all().item<bool>())
    throw InputError(fmt::format("{}: {} hold NaN or infinity", file, name));
  return values;
}

// Resized pictures have the network's height and width; of a shape [d] their product is a part. Checked where the file
// is read, since every picture that the control set is drawn from is brought to the size that it names.
void require_size_of(const std::vector<std::int64_t>& input_shape, std::int64_t height, std::int64_t width,
                     const std::string& file) {
  const bool fits = input_shape.size() == 1 ? input_shape[0] % (height * width) == 0
                                            : input_shape[0] == height && input_shape[1] == width;
  if (!fits) {
    throw InputError(
        fmt::format("{}: preprocessing resizes to [{}, {}] but input_shape is [{}]; give the height and width that the "
                    "network takes",
                    file, height, width, fmt::join(input_shape, ", ")));
  }
}

// All tasks but that of all classes have one target an image.
bool fits_outputs(const std::string& task, std::int64_t outputs) { return outputs == 1 || task == "multiclass"; }

Preprocessing preprocessing_in(const Json& document, const std::vector<std::int64_t>& input_shape,
                               const std::string& file) {
  const auto reject = [&] {
    throw InputError(file + ": preprocessing has to be like {\"grey\": true, \"resize\": [32, 32]}");
  };
  Preprocessing preprocessing;
  if (!document.is_object()) reject();
  for (const auto& [key, value] : document.items()) {
    if (key == "grey" && value.is_boolean()) {
      preprocessing.grey = value.get<bool>();
    } else if (key == "resize" && value.is_array() && value.size() == 2 && value[0].is_number_unsigned() &&
               value[1].is_number_unsigned()) {
      const auto height = value[0].get<std::uint64_t>(), width = value[1].get<std::uint64_t>();
      if (height < 1 || width < 1 || height > 16384 || width > 16384) reject();
      preprocessing.size = {static_cast<std::int64_t>(height), static_cast<std::int64_t>(width)};
      require_size_of(input_shape, preprocessing.size->first, preprocessing.size->second, file);
    } else {
      reject();
    }
  }
  return preprocessing;
}

// Spread over the pixels.
Tensor constant_in(const Array& array, const char* name, const ModelDescription& model, const std::string& file) {
  const Tensor values = finite(to_tensor(array), name, file), spread = per_pixel(values, model.input_shape);
  if (!spread.defined()) {
    throw InputError(fmt::format("{}: the {} has {} numbers; give one, one for each channel or {}", file, name,
                                 values.numel(), model.inputs()));
  }
  return spread;
}

}  // namespace

std::int64_t ModelDescription::inputs() const {
  return std::accumulate(input_shape.begin(), input_shape.end(), std::int64_t{1}, std::multiplies<>());
}

std::filesystem::path ModelDescription::archive() const {
  constexpr std::string_view family = ScriptedNetwork::family;
  return architecture.starts_with(family) ? folder / architecture.substr(family.size()) : std::filesystem::path();
}

std::unique_ptr<Network> ModelDescription::network() const {
  if (const auto file = archive(); !file.empty()) {
    require_torchscript_allowed(file.string(), allow_torchscript);
    if (parameterization != "standard") {
      throw UsageError(fmt::format("parameterization \"{}\": {} has to be standard", parameterization, architecture));
    }
    return std::make_unique<ScriptedNetwork>(file, architecture, input_shape, outputs);
  }
  return make_network(architecture, parameterization, inputs(), outputs);
}

bool is_there(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

Json to_json(const ModelDescription& model) {
  Json document = {{"schema", model_schema},
                   {"architecture", model.architecture},
                   {"parameterization", model.parameterization},
                   {"input_shape", model.input_shape},
                   {"outputs", model.outputs},
                   {"task", model.task},
                   {"loss", model.loss ? Json(name_of(*model.loss)) : Json(nullptr)}};
  const Preprocessing& preprocessing = model.preprocessing;
  if (preprocessing.grey) document["preprocessing"]["grey"] = true;
  if (preprocessing.size) document["preprocessing"]["resize"] = {preprocessing.size->first, preprocessing.size->second};
  return document;
}

void require_torchscript_allowed(const std::string& file, bool allowed) {
  if (allowed) return;
  throw UsageError(
      fmt::format("--allow-torchscript: not given, and {} holds code that would run on this machine; give it where you "
                  "trust the file",
                  printable(file)));
}

ModelDescription read_model(const std::filesystem::path& path, bool allow_torchscript) {
  const std::string file = path.string();
  const Json document = parse_json(read_file(path, largest_json), file);
  if (!document.is_object())
    throw InputError(file + ": has to be a JSON object with architecture, input_shape, outputs, task");
  ModelDescription model;
  model.folder = path.parent_path();
  model.allow_torchscript = allow_torchscript;
  model.architecture = text_in(document, "architecture", file);
  if (document.contains("parameterization")) model.parameterization = text_in(document, "parameterization", file);
  model.task = text_in(document, "task", file);
  const auto shape = document.find("input_shape");
  if (shape == document.end() || !shape->is_array() || shape->empty() || shape->size() > 3) {
    throw InputError(file + ": input_shape has to be a list of one to three sizes, as in [28, 28]");
  }
  for (const auto& size : *shape) {
    if (!size.is_number_unsigned() || size.get<std::uint64_t>() < 1 || size.get<std::uint64_t>() > largest_input) {
      throw InputError(file + ": input_shape has to be a list of one to three sizes, as in [28, 28]");
    }
    model.input_shape.push_back(size.get<std::int64_t>());
  }
  const auto outputs = document.find("outputs");
  if (outputs == document.end() || !outputs->is_number_unsigned() || outputs->get<std::uint64_t>() < 1 ||
      outputs->get<std::uint64_t>() > 65536) {
    throw InputError(file + ": outputs has to be a whole number from 1 to 65536");
  }
  model.outputs = outputs->get<std::int64_t>();
  if (const auto found = document.find("preprocessing"); found != document.end()) {
    model.preprocessing = preprocessing_in(*found, model.input_shape, file);
  }
  try {
    if (const auto loss = document.find("loss"); loss != document.end() && !loss->is_null()) {
      model.loss = parse_loss(text_in(document, "loss", file));
    }
    if (model.archive().empty()) static_cast<void>(model.network());  // an archive is loaded once, by whoever needs it
    static_cast<void>(Task::parse(model.task));
  } catch (const UsageError& error) {
    throw InputError(fmt::format("{}: {}", file, error.what()));
  }
  if (!fits_outputs(model.task, model.outputs)) {
    throw InputError(fmt::format("{}: outputs is {} but task {} has one; give outputs 1, or the task multiclass", file,
                                 model.outputs, model.task));
  }
  return model;
}

ModelDescription infer_model(const Parameters& trained, const std::string& trained_file,
                             const NamedArrays& training_set, const std::string& training_set_file,
                             const std::string& task) {
  const auto dense = dense_layers(trained);
  if (!dense) {
    throw InputError(trained_file +
                     ": its tensors are not those of fully connected layers one after the other, so that the "
                     "architecture cannot be inferred; describe it with --model");
  }
  ModelDescription model;
  model.architecture = dense->architecture();
  model.outputs = dense->sizes.back();
  const Array* images = find(training_set, "images");
  if (images == nullptr || images->shape.size() < 2) {
    throw InputError(training_set_file + ": has no array images [n, ...], which a training set needs");
  }
  model.input_shape.assign(images->shape.begin() + 1, images->shape.end());
  if (model.inputs() != dense->sizes.front()) {
    throw InputError(fmt::format("{}: its first layer takes {} numbers, but the images of {} have {}", trained_file,
                                 dense->sizes.front(), training_set_file, model.inputs()));
  }
  if (task.empty() && model.outputs == 1) {
    throw UsageError("--task: missing; say what the labels of a network with one output mean, as in --task odd-even");
  }
  model.task = task.empty() ? "multiclass" : task;
  static_cast<void>(Task::parse(model.task));
  if (!fits_outputs(model.task, model.outputs)) {
    throw UsageError(fmt::format("--task {}: has one output, but the network in {} has {}; give --task multiclass",
                                 model.task, trained_file, model.outputs));
  }
  return model;
}

void write_training_set(const std::filesystem::path& path, const TrainingSet& set,
                        const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> with_count = {set.images.size(0)};
  with_count.insert(with_count.end(), shape.begin(), shape.end());
  NamedArrays arrays = {{"images", to_array(set.images.reshape(with_count))},
                        {"labels", to_array(set.labels)},
                        {"mean", to_array(set.mean.reshape(shape))}};
  if (set.scale.defined()) arrays.emplace_back("scale", to_array(set.scale.reshape(shape)));
  write_npz(path, arrays);
}

TrainingSet read_training_set(const std::filesystem::path& path, const ModelDescription& model) {
  return training_set_of(read_npz(path), path.string(), model);
}

TrainingSet training_set_of(const NamedArrays& arrays, const std::string& file, const ModelDescription& model) {
  const Array *images = find(arrays, "images"), *labels = find(arrays, "labels"), *mean = find(arrays, "mean"),
              *scale = find(arrays, "scale");
  if (images == nullptr || labels == nullptr) {
    throw InputError(file + ": has no arrays named images and labels, which a training set needs");
  }
  const std::int64_t d = model.inputs();
  if (images->shape.empty() || images->shape[0] < 1 || images->elements() != images->shape[0] * d) {
    throw InputError(fmt::format("{}: images are [{}] but the model takes inputs of [{}]", file,
                                 fmt::join(images->shape, ", "), fmt::join(model.input_shape, ", ")));
  }
  TrainingSet set;
  set.images = finite(to_tensor(*images), "images", file).reshape({-1, d});
  set.mean = mean == nullptr ? at::zeros({d}) : constant_in(*mean, "mean", model, file);
  if (scale != nullptr) {
    set.scale = constant_in(*scale, "scale", model, file);
    if (set.scale.min().item<double>() <= 0) throw InputError(file + ": the scale has to be above zero everywhere");
  }
  set.labels = checked_labels(to_tensor(*labels), set.images.size(0), file);
  constexpr double slack = 1e-3;
  const Tensor pixels = set.pixels();
  if (pixels.min().item<double>() < -slack || pixels.max().item<double>() > 1 + slack) {
    throw InputError(
        fmt::format("{}: images times scale plus mean go from {:.3g} to {:.3g}; they have to be pixels in [0, 1]", file,
                    pixels.min().item<double>(), pixels.max().item<double>()));
  }
  return set;
}

TrainingRecord read_training_record(const std::filesystem::path& path) {
  const std::string file = path.string();
  const Json document = parse_json(read_file(path, largest_json), file);
  if (!document.is_object()) throw InputError(file + ": has to be a JSON object");
  TrainingRecord record;
  const auto number = [&](const char* key) -> Number {
    const auto found = document.find(key);
    return found != document.end() && found->is_number() ? Number(found->get<double>()) : std::nullopt;
  };
  const auto fraction = [&](const char* key) {
    const Number found = number(key);
    if (found && !(*found >= 0 && *found <= 1)) {
      throw InputError(fmt::format("{}: {} has to be a fraction from 0 to 1", file, key));
    }
    return found;
  };
  record.facts = {number("final_loss"), fraction("train_accuracy"), fraction("test_accuracy")};
  if (document.contains("data")) record.data_source = text_in(document, "data", file);
  return record;
}

}  // namespace afterimage
