// The run directory: what `train` writes and `audit` reads (docs/formats.md).
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "models/data/labelled_images.h"
#include "models/image_space.h"
#include "models/network.h"
#include "models/training.h"
#include "reports/report.h"

namespace afterimage {

// model.json
struct ModelDescription {
  std::string architecture, parameterization = "standard";
  std::vector<std::int64_t> input_shape;
  std::int64_t outputs = 1;
  std::string task;
  std::optional<LossKind> loss;
  Preprocessing preprocessing = {};        // of pictures, before the training set's mean and scale
  std::filesystem::path folder;            // that the file of "torchscript:FILE" lies in
  bool allow_torchscript = false;          // whether the code in that file may run
  std::vector<std::int64_t> one_hot = {};  // ImageSpace::one_hot, where it is stated
  std::vector<std::string> columns = {};   // the names of the inputs, where they are rows and have names
  // Where outputs are scores of classes, or of so many subclasses of each in turn, as a student's. 0: they are those of
  // the task.
  std::int64_t subclasses = 0;

  std::int64_t inputs() const;
  std::int64_t target_columns() const;                // C of the task's targets
  Tensor class_outputs(const Tensor& outputs) const;  // [n, outputs] -> [n, C], to be compared with targets
  std::optional<LossKind> class_loss() const;         // of class_outputs(), as `loss` is of outputs
  // The file of "torchscript:FILE"; empty for other architectures.
  std::filesystem::path archive() const;
  // Throws UsageError: an architecture that is unknown, or TorchScript that is not allowed; InputError: an archive that
  // cannot be loaded, or whose network does not fit.
  std::unique_ptr<Network> network() const;
};
// Whether such a file or folder exists; false where the name is invalid or too long.
bool is_there(const std::filesystem::path& path);
// Throws UsageError, naming the file, unless the code in it may run.
void require_torchscript_allowed(const std::string& file, bool allowed);
Json to_json(const ModelDescription& model);
// Throws InputError: fields that are missing, invalid, or do not fit each other.
ModelDescription read_model(const std::filesystem::path& path, bool allow_torchscript = false);
// A fully connected network as the shapes of its weights show it, that is supposed to have ReLUs, for images of the
// shape that the training set's have and the given TASK, or all classes where that is empty and there are several
// outputs. Throws InputError where the shapes show no such network or do not fit the images, UsageError where the task
// is missing or of another number of outputs.
ModelDescription infer_model(const Parameters& trained, const std::string& trained_file, const ArrayFile& training_set,
                             const std::string& training_set_file, const std::string& task);

// training-set.npz: arrays images [n, ...] as the network saw them, labels [n] (or one-hot [n, c]), mean [...] and,
// where inputs were divided, scale [...]; pixels = images * scale + mean.
struct TrainingSet {
  Tensor images;  // [n, d] float32
  Tensor labels;  // [n] int64
  ImageSpace space;

  Tensor pixels() const { return space.pixels(images); }  // [n, d], in [0, 1]
};
void write_training_set(const std::filesystem::path& path, const TrainingSet& set);
// Throws InputError: arrays missing, shapes that do not fit the model, NaN or infinity, labels that are no classes
// (checked_labels), pixels outside of [0, 1]. Mean and scale may be one number, one for each channel or one for each
// pixel; a mean that is missing is zero.
TrainingSet read_training_set(const std::filesystem::path& path, const ModelDescription& model);
// Throws InputError unless images of shape `images` are numbers in the order of `inputs`: the same shape but for a
// single channel, or rows of numbers.
void require_layout(const std::vector<std::int64_t>& images, const std::vector<std::int64_t>& inputs,
                    const std::string& file);
// Of what `file` holds.
TrainingSet training_set_of(const ArrayFile& content, const std::string& file, const ModelDescription& model);

// What --training-set names: a file as above, or DATA (as in csv:FILE) whose pixels are the inputs.
struct TrainingFile {
  ArrayFile content;
  std::vector<std::string> files;                           // that were read
  std::vector<std::string> class_names = {}, columns = {};  // as LabelledImages has them
};
// `columns`: those of the model, into whose order a table's are put; empty where they are not known.
TrainingFile read_training_file(const std::string& name, const std::vector<std::string>& columns);

// training.json: where the data came from and how training went. Fields that are missing or null are empty.
struct TrainingRecord {
  std::optional<std::string> data_source;
  std::vector<std::string> class_names;  // of that source, as LabelledImages has them
  TrainingFacts facts;
  bool defended = false;  // a defence was trained, which may be on something else than the training set
};
// Throws InputError where one of these fields is of the wrong type.
TrainingRecord read_training_record(const std::filesystem::path& path);

// What a comparison of defences reads of training.json.
struct DefenseRecord {
  TrainingRecord training;
  std::int64_t test_samples = 0;
  Json measured = Json::object();  // by the defence, of itself
  // Where the loss on what was trained on ended higher than it began: both in words; else empty.
  std::string diverged;
};
// Likewise.
DefenseRecord read_defense_record(const std::filesystem::path& path);

}  // namespace afterimage
