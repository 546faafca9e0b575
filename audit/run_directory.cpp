#include "audit/run_directory.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <numeric>

#include "models/architectures.h"
#include "models/data/labelled_images.h"
#include "models/data/sources.h"
#include "models/dense_layers.h"
#include "models/formats/npz.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/json_reader.h"
#include "models/foundations/text.h"
#include "models/mlp.h"
#include "models/scripted_network.h"
#include "reports/json_parts.h"

namespace afterimage {
namespace {

constexpr std::uint64_t largest_json = 64 << 20;
constexpr const char* model_schema = "afterimage.model/1";
constexpr std::int64_t largest_input = 1 << 20, most_outputs = 65536;

Tensor finite(const Tensor& tensor, const char* name, const std::string& file) {
  Tensor values = tensor.to(at::kFloat);
  if (!at::isfinite(values).all().item<bool>())
    throw InputError(fmt::format("{}: {} contain NaN or infinity", file, name));
  return values;
}

// Resized pictures must have the network's height and width; for a shape [d] their product must divide d. Checked when
// the file is read: every candidate for the control set is resized to this size.
void require_size_of(const std::vector<std::int64_t>& input_shape, std::int64_t height, std::int64_t width,
                     const json::Reader& in) {
  const bool fits = input_shape.size() == 1 ? input_shape[0] % (height * width) == 0
                                            : input_shape[0] == height && input_shape[1] == width;
  if (!fits) {
    in.fail(fmt::format("is [{}, {}] but input_shape is [{}]; give the height and width that the network takes", height,
                        width, fmt::join(input_shape, ", ")));
  }
}

// All tasks but multiclass have one target for each image.
bool fits_outputs(const std::string& task, std::int64_t outputs, std::int64_t subclasses = 0) {
  if (subclasses > 0) {
    return task == "multiclass" ? outputs > subclasses && outputs % subclasses == 0 : outputs == 2 * subclasses;
  }
  return outputs == 1 || task == "multiclass";
}

Preprocessing preprocessing_in(const json::Reader& in, const std::vector<std::int64_t>& input_shape) {
  constexpr const char* example = "has to be like {\"grey\": true, \"resize\": [32, 32]}";
  constexpr std::int64_t largest_side = 16384;
  Preprocessing preprocessing;
  if (!in.raw().is_object()) in.fail(example);
  in.require_keys_among({"grey", "resize"});
  if (const auto grey = in.find("grey")) preprocessing.grey = grey->boolean();
  if (const auto resize = in.find("resize")) {
    const auto sides = resize->list();
    if (sides.size() != 2) in.fail(example);
    const auto height = sides[0].whole(1, largest_side), width = sides[1].whole(1, largest_side);
    preprocessing.size = {height, width};
    require_size_of(input_shape, height, width, *resize);
  }
  return preprocessing;
}

constexpr std::int64_t rgb = 3;

// [1, h, w] and [h, w, 1] are [h, w].
std::vector<std::int64_t> without_single_channel(std::vector<std::int64_t> shape) {
  if (shape.size() == 3 && shape[2] == 1) {
    shape.pop_back();
  } else if (shape.size() == 3 && shape[0] == 1) {
    shape.erase(shape.begin());
  }
  return shape;
}

std::vector<std::int64_t> input_shape_in(const json::Reader& in) {
  constexpr const char* example = "has to be a list of one to three sizes, as in [28, 28]";
  if (!in.raw().is_array() || in.raw().empty() || in.raw().size() > 3) in.fail(example);
  std::vector<std::int64_t> shape;
  for (const auto& size : in.list()) shape.push_back(size.whole(1, largest_input));
  return shape;
}

std::vector<std::int64_t> one_hot_in(const json::Reader& in, std::int64_t inputs) {
  std::vector<std::int64_t> groups;
  std::int64_t columns = 0;
  for (const auto& size : in.list()) {
    groups.push_back(size.whole(1, inputs));
    columns += groups.back();
  }
  if (std::all_of(groups.begin(), groups.end(), [](std::int64_t size) { return size == 1; })) {
    in.fail("has no group of several columns; list the size of each group of columns of which exactly one is 1");
  }
  if (columns != inputs) {
    in.fail(
        fmt::format("has groups of {} columns together, but the model takes {} numbers; list the size of each group "
                    "of columns of which exactly one is 1, in order",
                    columns, inputs));
  }
  return groups;
}

std::vector<std::string> columns_in(const json::Reader& in, std::int64_t inputs) {
  std::vector<std::string> columns;
  for (const auto& name : in.list()) columns.push_back(name.text());
  if (static_cast<std::int64_t>(columns.size()) != inputs) {
    in.fail(
        fmt::format("names {} columns, but the model takes {} numbers; name each, in order", columns.size(), inputs));
  }
  return columns;
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

std::int64_t ModelDescription::target_columns() const {
  if (subclasses == 0) return outputs;
  return task == "multiclass" ? outputs / subclasses : 1;
}

Tensor ModelDescription::class_outputs(const Tensor& scores) const {
  return subclasses == 0 ? scores : afterimage::class_outputs(scores, subclasses, target_columns());
}

std::optional<LossKind> ModelDescription::class_loss() const {
  if (subclasses == 0) return loss;
  return target_columns() == 1 ? LossKind::logistic : LossKind::cross_entropy;
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
  return make_network_for(architecture, parameterization, input_shape, outputs);
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
  if (!model.one_hot.empty()) document["one_hot"] = model.one_hot;
  if (!model.columns.empty()) document["columns"] = model.columns;
  if (model.subclasses > 0) document["subclasses"] = model.subclasses;
  const Preprocessing& preprocessing = model.preprocessing;
  if (preprocessing.grey) document["preprocessing"]["grey"] = true;
  if (preprocessing.size) document["preprocessing"]["resize"] = {preprocessing.size->first, preprocessing.size->second};
  return document;
}

void require_torchscript_allowed(const std::string& file, bool allowed) {
  if (allowed) return;
  throw UsageError(
      fmt::format("--allow-torchscript: not given, and {} holds code that would run on this machine; give it if you "
                  "trust the file",
                  printable(file)));
}

ModelDescription read_model(const std::filesystem::path& path, bool allow_torchscript) {
  const std::string file = path.string();
  const Json document = parse_json(read_file(path, largest_json), file);
  const json::Reader in(document, file);
  ModelDescription model;
  model.folder = path.parent_path();
  model.allow_torchscript = allow_torchscript;
  in.require_keys_among({"schema", "architecture", "parameterization", "activation", "input_shape", "outputs", "task",
                         "loss", "preprocessing", "one_hot", "columns", "subclasses"});
  model.architecture = in["architecture"].text();
  if (const auto activation = in.find("activation"); activation && activation->text() != "relu") {
    activation->fail("has to be relu, which mlp has; export networks with another as TorchScript");
  }
  if (const auto parameterization = in.find("parameterization")) model.parameterization = parameterization->text();
  model.task = in["task"].text();
  model.input_shape = input_shape_in(in["input_shape"]);
  model.outputs = in["outputs"].whole(1, most_outputs);
  if (const auto subclasses = in.find("subclasses")) model.subclasses = subclasses->whole(1, most_outputs);
  if (const auto one_hot = in.find("one_hot")) model.one_hot = one_hot_in(*one_hot, model.inputs());
  if (const auto columns = in.find("columns")) model.columns = columns_in(*columns, model.inputs());
  if (const auto preprocessing = in.find("preprocessing")) {
    model.preprocessing = preprocessing_in(*preprocessing, model.input_shape);
  }
  try {
    if (const auto loss = in["loss"]; !loss.is_null()) model.loss = parse_loss(loss.text(), "loss");
    if (model.archive().empty()) static_cast<void>(model.network());  // an archive is loaded once, where it is needed
    static_cast<void>(Task::parse(model.task));
  } catch (const UsageError& error) {
    const std::string_view what = error.what(), option = "--";
    throw InputError(fmt::format("{}: {}", file, what.starts_with(option) ? what.substr(option.size()) : what));
  }
  if (fits_outputs(model.task, model.outputs, model.subclasses)) return model;
  if (model.subclasses > 0) {
    throw InputError(fmt::format(
        "{}: outputs is {} but task {} of {} subclasses a class has {}", file, model.outputs, model.task,
        model.subclasses, model.task == "multiclass" ? "several times as many" : fmt::to_string(2 * model.subclasses)));
  }
  throw InputError(fmt::format("{}: outputs is {} but task {} has one; give outputs 1, or the task multiclass", file,
                               model.outputs, model.task));
}

ModelDescription infer_model(const Parameters& trained, const std::string& trained_file, const ArrayFile& training_set,
                             const std::string& training_set_file, const std::string& task) {
  const auto dense = dense_layers(trained);
  if (!dense) {
    throw InputError(fmt::format("{}: the architecture cannot be inferred: {}", trained_file, why_not_dense(trained)));
  }
  ModelDescription model;
  model.architecture = dense->architecture();
  model.outputs = dense->sizes.back();
  require_images_and_labels(training_set, "a training set", training_set_file);
  const Array* images = find(training_set.arrays, "images");
  if (images->shape.size() < 2) {
    throw InputError(fmt::format("{}: images are [{}]; they have to be [n, ...]", training_set_file,
                                 fmt::join(images->shape, ", ")));
  }
  model.input_shape = without_single_channel({images->shape.begin() + 1, images->shape.end()});
  const auto& shape = model.input_shape;
  if (shape.size() == 3 && shape[2] != rgb && shape[0] == rgb) {
    throw InputError(
        fmt::format("{}: images are [n, {}], channels before height and width; describe the network with --model, and "
                    "give images as rows [n, {}] in the order of its inputs",
                    training_set_file, fmt::join(shape, ", "), model.inputs()));
  }
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

void write_training_set(const std::filesystem::path& path, const TrainingSet& set) {
  const auto& shape = set.space.shape;
  const Tensor &mean = set.space.mean, &scale = set.space.scale;
  std::vector<std::int64_t> with_count = {set.images.size(0)};
  with_count.insert(with_count.end(), shape.begin(), shape.end());
  NamedArrays arrays = {{"images", to_array(set.images.reshape(with_count))},
                        {"labels", to_array(set.labels)},
                        {"mean", to_array(mean.reshape(shape))}};
  if (scale.defined()) arrays.emplace_back("scale", to_array(scale.reshape(shape)));
  write_npz(path, arrays);
}

TrainingSet read_training_set(const std::filesystem::path& path, const ModelDescription& model) {
  return training_set_of(read_npz_file(path), path.string(), model);
}

void require_layout(const std::vector<std::int64_t>& images, const std::vector<std::int64_t>& inputs,
                    const std::string& file) {
  if (images.size() == 1 || without_single_channel(images) == without_single_channel(inputs)) return;
  throw InputError(fmt::format(
      "{}: images are [n, {}] but the model takes [{}]: the order of the numbers would be another; write them in the "
      "model's shape",
      file, fmt::join(images, ", "), fmt::join(inputs, ", ")));
}

TrainingFile read_training_file(const std::string& name, const std::vector<std::string>& columns) {
  constexpr std::string_view npz = "npz:", csv = ".csv";
  if (name.starts_with(npz)) return {read_npz_file(name.substr(npz.size())), {name.substr(npz.size())}};
  const bool is_csv = name.ends_with(csv) && is_there(name);
  const auto begins = [&](const char* form) { return name.starts_with(form); };
  const std::initializer_list<const char*> forms = {"csv:", "idx:", "folder:", "cifar10:", "cifar100:"};
  if (!is_csv && (is_there(name) || std::none_of(forms.begin(), forms.end(), begins))) {
    return {read_npz_file(name), {name}};
  }
  LabelledImages data = load_images(is_csv ? "csv:" + name : name);
  match_columns(data, columns, "the model");
  return {{{{"images", to_array(data.images)}, {"labels", to_array(data.labels)}}, {}, std::move(data.notes), ""},
          std::move(data.files),
          std::move(data.class_names),
          std::move(data.columns)};
}

TrainingSet training_set_of(const ArrayFile& content, const std::string& file, const ModelDescription& model) {
  const NamedArrays& arrays = content.arrays;
  require_images_and_labels(content, "a training set", file);
  const Array *images = find(arrays, "images"), *labels = find(arrays, "labels"), *mean = find(arrays, "mean"),
              *scale = find(arrays, "scale");
  const std::int64_t d = model.inputs();
  if (images->shape.empty() || images->shape[0] < 1 || images->elements() != images->shape[0] * d) {
    throw InputError(fmt::format("{}: images are [{}] but the model takes inputs of [{}]", file,
                                 fmt::join(images->shape, ", "), fmt::join(model.input_shape, ", ")));
  }
  require_layout({images->shape.begin() + 1, images->shape.end()}, model.input_shape, file);
  TrainingSet set;
  set.images = finite(to_tensor(*images), "images", file).reshape({-1, d});
  set.space.shape = model.input_shape;
  set.space.named = !model.columns.empty();
  set.space.mean = mean == nullptr ? at::zeros({d}) : constant_in(*mean, "mean", model, file);
  if (scale != nullptr) {
    set.space.scale = constant_in(*scale, "scale", model, file);
    if (set.space.scale.min().item<double>() <= 0)
      throw InputError(file + ": the scale has to be above zero everywhere");
  }
  set.labels = checked_labels(to_tensor(*labels), set.images.size(0), file);
  if (!model.task.empty()) Task::parse(model.task).require_all_of_task(set.labels, file);
  constexpr double slack = 1e-3;
  const Tensor pixels = set.pixels();
  if (pixels.min().item<double>() < -slack || pixels.max().item<double>() > 1 + slack) {
    throw InputError(fmt::format(
        "{}: images times scale plus mean go from {:.3g} to {:.3g}; they have to be in [0, 1]; store the mean and "
        "scale that preprocessing used, or, for inputs between A and B, scale 1 / (B - A) and mean -A / (B - "
        "A), and give the control as (values - A) / (B - A)",
        file, pixels.min().item<double>(), pixels.max().item<double>()));
  }
  return set;
}

namespace {

TrainingRecord training_record_in(const json::Reader& in) {
  TrainingRecord record;
  json::read_figures(in, record.facts, training_figures);
  if (const auto source = in.find("data")) record.data_source = source->text();
  if (const auto names = in.find("class_names")) {
    for (const auto& name : names->list()) record.class_names.push_back(name.text());
  }
  const Json& defense = in["defense"].raw();
  record.defended = defense.is_object() && defense.value("name", Json("none")) != "none";
  return record;
}

// What `read` makes of the JSON file.
template <class Read>
auto read_from(const std::filesystem::path& path, const Read& read) {
  const std::string file = path.string();
  const Json document = parse_json(read_file(path, largest_json), file);
  return read(json::Reader(document, file));
}

std::string divergence_in(const json::Reader& in, const Number& final_loss) {
  const auto curve = in["loss_curve"].list_or_empty();
  if (!final_loss || curve.size() == 0) return "";
  const double first = curve[0].two().second;
  if (*final_loss <= first) return "";
  return fmt::format("the training loss was {:.3g} at the start and {:.3g} at the end", first, *final_loss);
}

DefenseRecord defense_record_in(const json::Reader& in) {
  DefenseRecord record;
  record.training = training_record_in(in);
  record.diverged = divergence_in(in, record.training.facts.final_loss);
  if (const auto samples = in["test_samples"]; !samples.is_null()) record.test_samples = samples.whole();
  if (const auto defense = in["defense"]; !defense.is_null()) {
    for (const char* part : {"distilled", "evidence"}) {
      const Json measured = defense[part].object_or_empty();
      for (const auto& [name, value] : measured.items()) record.measured[name] = value;
    }
  }
  return record;
}

}  // namespace

TrainingRecord read_training_record(const std::filesystem::path& path) { return read_from(path, training_record_in); }

DefenseRecord read_defense_record(const std::filesystem::path& path) { return read_from(path, defense_record_in); }

}  // namespace afterimage
