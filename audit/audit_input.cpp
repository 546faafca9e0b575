#include "audit/audit_input.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "audit/class_frequencies.h"
#include "audit/context.h"
#include "audit/plausibility.h"
#include "audit/references.h"
#include "models/dense_layers.h"
#include "models/formats/npz.h"
#include "models/formats/weight_file.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/text.h"
#include "models/scripted_network.h"
#include "models/weights.h"

namespace afterimage {
namespace {

namespace fs = std::filesystem;

std::string format_of(const std::string& file) {
  const auto extension = fs::path(file).extension().string();
  return extension.empty() ? "unknown" : extension.substr(1);
}

InputFile describe(const std::string& role, const std::string& file, std::vector<std::string> notes = {}) {
  const auto digest = digest_of_weights(file);
  return {role, file, format_of(file), digest.bytes, digest.sha256, "", std::move(notes)};
}

// The notes are about all of the files, and kept with the first.
void add_inputs(std::vector<InputFile>& inputs, const std::string& role, const std::vector<std::string>& files,
                const std::vector<std::string>& notes) {
  for (const auto& file : files)
    inputs.push_back(describe(role, file, file == files.front() ? notes : std::vector<std::string>()));
}

void require_change(const Parameters& initial, const Parameters& trained, const SubjectFiles& files, bool new_head) {
  if (trained.minus(initial).squared_norm() == 0) {
    if (new_head) {
      throw InputError(
          fmt::format("{}: all but its last layer is as in {}, which lacks that layer or has another: only the new "
                      "head was trained; "
                      "give the weights from just before training, with the head, as --initial",
                      files.trained, files.initial));
    }
    throw InputError(fmt::format("{}: holds the same weights as {}; give the weights before and after training",
                                 files.trained, files.initial));
  }
}

// A fine-tuned model often has a new head, which the base model's file lacks, or has for other classes. Its initial
// weights are not known: they are set to the trained ones, which leaves the head out of all tangent features. Returns
// whether there is such a head.
bool complete_head(Parameters& initial, const Parameters& trained, const Network& network,
                   const std::string& trained_file) {
  constexpr std::size_t head = 2;  // the last layer's weight and bias
  Parameters completed = completed_start(initial, trained);
  std::vector<const void*> unknown;
  for (std::size_t i = 0; i < trained.size(); ++i) {
    if (completed[i].is_same(trained[i])) unknown.push_back(trained[i].data_ptr());
  }
  if (unknown.empty() || unknown.size() > head || unknown.size() == trained.size()) return false;
  const Parameters arranged = network.arranged(trained, trained_file);
  for (std::size_t i = 0; i + head < arranged.size(); ++i) {
    if (std::find(unknown.begin(), unknown.end(), arranged[i].data_ptr()) != unknown.end()) return false;
  }
  initial = std::move(completed);
  return true;
}

// Without tensors that are no parameters of dense layers, like a mean and a scale of the inputs. Throws InputError
// where one of them changed in training: the network is then more than these layers.
void leave_out_buffers(Weights& initial, Weights& trained, const SubjectFiles& files) {
  const auto dense = dense_layers(trained.parameters);
  if (!dense || dense->beside.empty()) return;
  for (const auto& name : dense->beside) {
    if (initial.parameters.size() == 0 ||
        (initial.parameters.contains(name) && at::equal(initial.parameters.at(name), trained.parameters.at(name)))) {
      continue;
    }
    throw InputError(
        fmt::format("{}: tensor \"{}\" changed in training, or is not in the weights before it, and is no weight or "
                    "bias of fully connected layers; give the network as "
                    "a TorchScript archive",
                    files.trained, printable(name)));
  }
  for (Weights* weights : {&initial, &trained}) {
    std::vector<Parameters::Entry> kept;
    for (const auto& entry : weights->parameters.entries()) {
      if (std::find(dense->beside.begin(), dense->beside.end(), entry.first) == dense->beside.end()) {
        kept.push_back(entry);
      }
    }
    weights->parameters = Parameters(std::move(kept));
  }
  std::vector<PassedOver> beside;
  for (const auto& name : dense->beside) beside.push_back({name, "beside fully connected layers"});
  trained.notes.push_back(passed_over_text(beside) +
                          "; the training set has to hold the inputs as the first layer gets them");
}

bool holds_double(const Parameters& parameters) {
  return std::any_of(parameters.entries().begin(), parameters.entries().end(),
                     [](const auto& entry) { return entry.second.scalar_type() == at::kDouble; });
}

// Returns whether the last layer's initial weights are unknown.
bool load_weights(TrainedNetwork& released, Parameters initial, const Parameters& trained, const SubjectFiles& files) {
  bool new_head = false;
  if (!files.initial.empty()) {
    new_head = complete_head(initial, trained, *released.network, files.trained);
    require_same_layout(initial, files.initial, trained, files.trained);
    released.initial = released.network->arranged(initial, files.initial);
  }
  released.trained = released.network->arranged(trained, files.trained);
  // Differences of weights in float64 would be lost in float32.
  if (holds_double(released.initial) || holds_double(released.trained)) {
    released.initial = released.initial.to(at::kDouble);
    released.trained = released.trained.to(at::kDouble);
  }
  if (released.knows_initial()) require_change(released.initial, released.trained, files, new_head);
  return new_head;
}

std::string known_preprocessing(const TrainingSet& training) {
  if (training.space.scale.defined())
    return "the mean and scale by which preprocessing normalises pixels, and the pixel range";
  if (training.space.mean.abs().max().item<double>() == 0) return "the pixel range of the inputs";
  constexpr double rounding = 1e-5;  // of float32, in a mean of pixels
  const bool own = training.images.mean(0).abs().max().item<double>() < rounding;
  return own ? "the mean of the training images, which preprocessing subtracts, and the pixel range"
             : "the mean image that preprocessing subtracts, and the pixel range";
}

ThreatModel threat_model(const ModelDescription& model, bool initial_known, bool new_head,
                         const TrainingSet& training) {
  const std::string initial = fmt::format("all initial parameters (the public base model, or the seed){}",
                                          new_head ? " but the last layer's" : "");
  ThreatModel threat;
  threat.knows = {"all trained parameters"};
  (initial_known ? threat.knows : threat.does_not_know).push_back(initial);
  threat.knows.push_back("the architecture " + model.architecture + " (" + model.parameterization +
                         " parameterization)");
  threat.knows.push_back(known_preprocessing(training));
  if (const auto groups = training.space.one_hot.size(); groups > 0) {
    threat.knows.push_back(fmt::format("which columns are levels of one value: {} groups", groups));
  }
  if (const auto levels = training.space.levels.size(); levels > 0) {
    threat.knows.push_back(fmt::format("the {} values that pixels have", levels));
  }
  if (new_head) threat.does_not_know.emplace_back("the last layer's initial weights");
  if (model.loss) threat.knows.push_back("the loss that was trained on (" + name_of(*model.loss) + ")");
  for (const char* unknown :
       {"any training image or label", "the number of training images",
        "the learning rate, batch order or number of steps", "any other image of the same source"}) {
    threat.does_not_know.emplace_back(unknown);
  }
  return threat;
}

std::vector<std::string> texts_of(const Tensor& labels) {
  std::vector<std::string> texts;
  texts.reserve(static_cast<std::size_t>(labels.numel()));
  for (std::int64_t i = 0; i < labels.numel(); ++i) texts.push_back(std::to_string(labels[i].item<std::int64_t>()));
  return texts;
}

// What attacks may know of the data, and what scoring compares their claims with.
void set_data(AuditInput& input, const TrainingSet& training, const ControlSet& others, const Task& task) {
  const auto candidates = [&](const LabelledImages& images) -> Candidates {
    return {training.space.inputs(images.images.flatten(1)), task.targets(images.labels, input.targets.size(1))};
  };
  const Candidates control = candidates(others.control);
  input.subject.space = training.space;
  if (others.background.size() > 0) input.subject.background = candidates(others.background);
  input.truth = {training.images, control.images, training.space, input.targets, control.targets};
  input.labels = texts_of(training.labels);
}

// As the model says, else as the first table that has names for all of its values.
std::vector<std::string> column_names(const ModelDescription& model, const std::vector<std::string>& training,
                                      const std::vector<std::string>& control) {
  for (const auto* names : {&model.columns, &training, &control}) {
    if (static_cast<std::int64_t>(names->size()) == model.inputs()) return *names;
  }
  return {};
}

// The file of that name in any format; .safetensors where there is none.
fs::path weights_in(const fs::path& folder, const std::string& name) {
  for (const char* extension : {".npz", ".pt", ".pth"}) {
    const fs::path other = folder / (name + extension);
    if (is_there(other) && !is_there(folder / (name + ".safetensors"))) return other;
  }
  return folder / (name + ".safetensors");
}

// What must not be scored beside the training set: what a defence and reference models trained on, and all canaries, as
// pixels; undefined where there are none.
Tensor not_to_be_scored(const SubjectFiles& files, const ModelDescription& model, const TrainingSet& training,
                        const Canaries& canaries) {
  std::vector<Tensor> parts;
  if (const Tensor support = support_pixels(files.support_set, model); support.defined()) parts.push_back(support);
  for (const Tensor* inputs : {&canaries.images, &files.references_trained_on}) {
    if (!inputs->defined()) continue;
    if (inputs->dim() != 2 || inputs->size(1) != model.inputs()) {
      throw InputError(fmt::format("{}: what reference models were trained on has another size than the model's inputs",
                                   files.trained));
    }
    parts.push_back(training.space.pixels(*inputs));
  }
  return parts.empty() ? Tensor() : at::cat(parts);
}

// Canaries that are in take the training set's place, and those that are out the control set's.
void take_canaries(AuditInput& input, const Canaries& canaries, const Task& task) {
  const auto [members, member_labels] = canaries.part(true);
  const auto [others, other_labels] = canaries.part(false);
  const std::int64_t columns = input.targets.size(1);
  input.targets = task.targets(member_labels, columns);
  input.truth.training = members;
  input.truth.training_targets = input.targets;
  input.truth.control = others;
  input.truth.control_targets = task.targets(other_labels, columns);
  input.labels = texts_of(member_labels);
  input.by_coin = true;
  input.facts.data.samples = members.size(0);
  input.facts.data.control_samples = others.size(0);
  input.facts.data.control_source = "canaries that the coin left out";
  input.facts.threat_model.knows.emplace_back("the canaries, and not which of them were trained on");
}

// Says in the report where classes are not as frequent in the two sets.
void compare_classes(AuditInput& input) {
  constexpr double certain = 1e-3;
  const double p = same_classes_p_value(input.truth.training_targets, input.truth.control_targets);
  input.same_classes = input.by_coin || p > certain;
  if (input.same_classes) return;
  input.facts.limitations.push_back(
      fmt::format("Classes are not as frequent among the training images as among the control images (p = {:.1g}): "
                  "membership scores "
                  "that depend on the class tell the two apart by that alone, and no bound on epsilon is given.",
                  p));
}

std::vector<std::string> limitations(bool initial_known, bool pictures) {
  std::vector<std::string> lines = {
      "A pass means that these attacks, with these settings, did not reconstruct more than the policy allows; it is a "
      "measurement, not a proof of privacy.",
      "A stronger attacker may know more, search longer or use a method that is not in this program.",
      initial_known
          ? "The attacks assume that the weights before training are known; a model whose initial weights are secret "
            "is harder to attack."
          : "The attacks assume that the weights before training are secret; an attacker who learns them, or the seed "
            "that they were drawn with, can do more.",
      "Rates are measured on this training set and this control set; other data may leak more or less.",
      "The report itself holds training images and has to be kept as carefully as the data.",
  };
  if (!pictures) {
    lines.emplace_back(
        "The inputs are rows of numbers: that neighbouring pixels are alike is not used, and SSIM is not measured. If "
        "they are pictures, say their height and width, as \"input_shape\" of the model or as the shape of the "
        "images.");
  }
  return lines;
}

}  // namespace

SubjectFiles files_of_run(const std::string& run, bool initial_known) {
  std::error_code ignored;
  if (!fs::is_directory(run, ignored)) throw InputError(run + ": no such run directory; `afterimage train` writes one");
  const fs::path folder(run);
  SubjectFiles files;
  if (initial_known) files.initial = weights_in(folder, "initial");
  files.trained = weights_in(folder, "trained");
  files.model = folder / "model.json";
  files.training_set = folder / "training-set.npz";
  files.training_record = folder / "training.json";
  for (const auto* file : {&files.initial, &files.trained, &files.model, &files.training_set}) {
    if (!file->empty() && !is_there(*file)) throw InputError(*file + ": missing; a run directory has to hold it");
  }
  if (!is_there(files.training_record)) files.training_record.clear();
  if (const fs::path support = folder / "support-set.npz"; is_there(support)) files.support_set = support;
  return files;
}

std::string canaries_of_run(const std::string& run) {
  const fs::path file = fs::path(run) / canaries_file;
  if (!is_there(file))
    throw InputError(file.string() + ": missing; train the run with --canaries, or leave it out here");
  return file;
}

namespace {

// No function has two values at one image, and a network of infinite width that is trained to the end fits all of them.
void require_one_target_each(const Tensor& images, const Tensor& targets, const std::string& source) {
  for (std::int64_t i = 0; i < images.size(0); ++i) {
    const Tensor rest = images.slice(0, i + 1);
    const Tensor equal = at::nonzero((rest == images[i]).all(1)).squeeze(1);
    for (std::int64_t k = 0; k < equal.numel(); ++k) {
      const std::int64_t other = i + 1 + equal[k].item<std::int64_t>();
      if (at::equal(targets[i], targets[other])) continue;
      throw InputError(fmt::format(
          "{}: of the images drawn, numbers {} and {} are equal and have different targets, which no function has; "
          "leave one out",
          source, i + 1, other + 1));
    }
  }
}

}  // namespace

AuditInput load_audit_input(const SubjectFiles& files, const ControlRequest& request, std::int64_t seed) {
  AuditInput result;
  if (!files.model.empty()) result.model = read_model(files.model, files.allow_torchscript);
  Weights trained, initial;
  if (files.initial.empty()) {
    trained = read_weights(files.trained, files.key, at::kDouble);
  } else {
    Checkpoints both = read_checkpoints(files.initial, files.trained, files.key, at::kDouble);
    initial = std::move(both.initial);
    trained = std::move(both.trained);
    agree_on_names(initial, files.initial, trained, files.trained);
  }
  if (result.model.archive().empty()) leave_out_buffers(initial, trained, files);
  note_rounding(initial);
  note_rounding(trained);
  TrainingFile training_file = read_training_file(files.training_set, result.model.columns);
  if (files.model.empty()) {
    result.model =
        infer_model(trained.parameters, files.trained, training_file.content, files.training_set, files.task);
  }
  auto& released = result.subject.released.emplace<TrainedNetwork>();
  released.network = result.model.network();
  result.subject.loss = result.model.loss;
  const bool new_head = load_weights(released, std::move(initial.parameters), trained.parameters, files);
  result.subject.references = read_references(files.references, files.key, released);
  TrainingSet training = training_set_of(training_file.content, files.training_set, result.model);
  const TrainingRecord record =
      files.training_record.empty() ? TrainingRecord{} : read_training_record(files.training_record);
  if (request.data.empty() && !record.data_source) {
    throw UsageError(
        "--control: missing; the run does not record the source of its training images, so name images that were not "
        "trained on, as in --control npz:FILE");
  }
  const Task task = Task::parse(result.model.task);
  const Canaries canaries = files.canaries.empty() ? Canaries() : read_canaries(files.canaries, training);
  Generator random = seeded(stage_seed(seed, "control"));
  const ControlSet others =
      load_control(request, record.data_source.value_or(""),
                   record.class_names.empty() ? training_file.class_names : record.class_names,
                   result.model.columns.empty() ? training_file.columns : result.model.columns, task, training,
                   not_to_be_scored(files, result.model, training, canaries), result.model, random);

  const LabelledImages& control = others.control;
  training.space.one_hot =
      result.model.one_hot.empty() ? one_hot_groups(control.images.flatten(1)) : result.model.one_hot;
  training.space.levels = levels_of(control.images);
  // A table of pixels may stand for pictures, a table of sequences not.
  training.space.named = training.space.named || control.is_sequences();
  result.targets = task.targets(training.labels, result.model.target_columns());
  set_data(result, training, others, task);

  Report& facts = result.facts;
  if (!files.initial.empty()) facts.inputs.push_back(describe("initial", files.initial, initial.notes));
  facts.inputs.push_back(describe("trained", files.trained, trained.notes));
  facts.inputs.back().key = files.key;
  if (!files.model.empty()) facts.inputs.push_back(describe("model", files.model));
  if (const auto archive = result.model.archive(); !archive.empty()) {
    facts.inputs.push_back(describe("network", archive.string()));
  }
  std::vector<std::string> training_notes = std::move(training_file.content.notes);
  if (const auto passed = passed_over_text(training_file.content.passed_over); !passed.empty()) {
    training_notes.push_back(passed);
  }
  add_inputs(facts.inputs, "training-set", training_file.files, training_notes);
  if (!files.training_record.empty()) facts.inputs.push_back(describe("training-record", files.training_record));
  for (const auto& file : files.references) facts.inputs.push_back(describe("reference", file));
  if (!files.support_set.empty()) facts.inputs.push_back(describe("support-set", files.support_set));
  add_inputs(facts.inputs, "control", control.files, control.notes);
  facts.model = {result.model.architecture, result.model.parameterization, released.trained.count(),
                 result.model.input_shape, result.model.outputs};
  facts.data = {record.data_source.value_or("unknown"),
                result.model.task,
                training.images.size(0),
                training.images.size(1),
                control.size(),
                control.source,
                training.space.is_picture() ? InputKind::image : InputKind::record};
  if (facts.data.kind == InputKind::record) {
    facts.data.columns = column_names(result.model, training_file.columns, control.columns);
    facts.data.one_hot = training.space.one_hot;
  }
  facts.threat_model = threat_model(result.model, released.knows_initial(), new_head, training);
  facts.training = record.facts;
  const Tensor outputs = result.model.class_outputs(released.network->evaluate(released.trained, training.images));
  facts.training->train_accuracy = accuracy(outputs, result.targets);
  if (const auto loss = result.model.class_loss()) facts.training->final_loss = loss_of(*loss, outputs, result.targets);
  // A defence may train on something else.
  if (!record.defended) result.doubt = implausible(released, result.model, training.images, result.targets);
  if (canaries.size() > 0) {
    take_canaries(result, canaries, task);
    facts.inputs.push_back(describe("canaries", files.canaries));
  }
  facts.limitations = limitations(released.knows_initial(), training.space.is_picture());
  compare_classes(result);
  return result;
}

InfiniteInput infinite_input(const InfiniteRequest& request, std::int64_t control_samples, std::int64_t seed) {
  const Task task = Task::parse(request.task);
  const DrawnData data = draw_data(request.data, task, request.samples, request.inputs, seed);
  require_one_target_each(data.training.images, data.targets, request.data);
  const auto kernel = AnalyticNtk::uniform(request.depth, request.weight_variance, request.bias_variance);
  const auto learned = std::make_shared<KernelRegression>(kernel, data.training.images, data.targets);
  InfiniteInput result;
  result.coefficients = learned->coefficients();
  AuditInput& audit = result.audit;
  audit.subject.released = InfiniteNetwork{learned, kernel};
  audit.model = {fmt::format("infinite mlp, {} hidden layers", request.depth),
                 "ntk",
                 data.training.space.shape,
                 data.targets.size(1),
                 request.task,
                 LossKind::squared,
                 request.inputs.preprocessing,
                 {},
                 false};
  Generator random = seeded(stage_seed(seed, "control"));
  const ControlSet others = load_control({"", control_samples}, request.data, data.class_names, data.columns, task,
                                         data.training, {}, audit.model, random);
  audit.targets = data.targets;
  set_data(audit, data.training, others, task);
  return result;
}

}  // namespace afterimage
