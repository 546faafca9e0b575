#include "audit/training_run.h"

#include <fmt/format.h>

#include <chrono>
#include <filesystem>

#include "audit/defense_options.h"
#include "audit/defense_state.h"
#include "audit/references.h"
#include "audit/support_set.h"
#include "defenses/baselines.h"
#include "models/augmentation.h"
#include "models/calibration.h"
#include "models/connected_networks.h"
#include "models/data/sequences.h"
#include "models/dense_network.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/scripted_network.h"
#include "models/weights.h"
#include "reports/json_parts.h"

namespace afterimage {
namespace {

namespace fs = std::filesystem;

// Drawn, or those of the archive that the network comes from.
Parameters initial_weights(const Network& network, const ModelDescription& model, double first_layer_scale,
                           Generator& random) {
  const fs::path archive = model.archive();
  Parameters initial = archive.empty() ? network.draw_initial(random).value()
                                       : network.arranged(read_parameters(archive), archive.string());
  if (first_layer_scale == 1) return initial;
  const DenseNetwork* dense = as_dense(network);
  if (dense == nullptr) throw UsageError("--first-layer-scale: the first layer is not fully connected; leave it out");
  initial.at(dense->first_weight()).mul_(first_layer_scale);
  return initial;
}

// A network that reads times from its inputs needs them as they are.
void require_times(const std::string& architecture, const DrawnData& data) {
  if (!reads_times(architecture)) return;
  if (!data.columns.empty() && longest_step_of(data.columns).empty()) {
    throw UsageError(
        fmt::format("\"{}\": reads the time since the last step from the inputs, and all steps of the data "
                    "are alike, so that they hold none; leave time=first out",
                    architecture));
  }
  const ImageSpace& space = data.training.space;
  if (!space.scale.defined() && space.mean.eq(0).all().item<bool>()) return;
  throw UsageError(
      fmt::format("--mean: \"{}\" reads the time since the last step from its inputs, from which a mean is subtracted; "
                  "use none",
                  architecture));
}

ModelDescription described(const Student& student, ModelDescription model) {
  model.architecture = student.network->architecture();
  model.parameterization = student.network->parameterization();
  model.outputs = student.network->outputs();
  model.loss = LossKind::cross_entropy;
  model.subclasses = student.subclasses;
  return model;
}

// The archive is copied into the run directory.
ModelDescription written_model(ModelDescription model, const fs::path& out) {
  const fs::path archive = model.archive();
  if (archive.empty()) return model;
  const std::string name = "network.pt";
  fs::copy_file(archive, out / name);
  model.architecture = std::string(ScriptedNetwork::family) + name;
  return model;
}

}  // namespace

ModelDescription model_of(const TrainRequest& request, const std::string& task, const DrawnData& data) {
  return {request.architecture,
          request.parameterization,
          data.training.space.shape,
          data.targets.size(1),
          task,
          request.recipe.loss,
          request.inputs.preprocessing,
          {},
          request.allow_torchscript,
          {},
          data.columns};
}

Json training_record(const TrainRequest& request, const Context& context, const Network& network,
                     const ModelDescription& model, const DrawnData& data, const Release& release, double seconds) {
  const Training& training = release.training;
  const auto accuracy_on = [&](const Tensor& images, const Tensor& targets) {
    if (images.size(0) == 0) return Json(nullptr);
    return Json(accuracy(model.class_outputs(network.evaluate(training.trained, images)), targets));
  };
  const auto calibration_error = [&]() -> Json {
    const auto loss = model.class_loss();
    if (!loss || *loss == LossKind::squared || data.held_out.size(0) == 0) return nullptr;
    const Tensor outputs = model.class_outputs(network.evaluate(training.trained, data.held_out));
    return expected_calibration_error(class_probabilities(outputs, *loss), classes_of(data.held_out_targets));
  };
  Json mean = request.inputs.mean.empty() ? "training" : request.inputs.mean;
  if (!request.inputs.normalize.empty()) mean = "normalize " + request.inputs.normalize;
  Json class_names = Json::array();
  for (const auto& name : data.class_names) class_names.push_back(json::utf8(name));
  Json curve = Json::array();
  for (const auto& [step, loss] : training.curve) curve.push_back({step, loss});
  const Recipe& recipe = release.recipe ? *release.recipe : request.recipe;
  Json record = {{"schema", "afterimage.training/1"},
                 {"data", json::utf8(request.data)},
                 {"data_notes", data.notes},
                 {"class_names", class_names},
                 {"samples", request.samples},
                 {"mean", mean},
                 {"seed", context.seed},
                 {"first_layer_scale", request.first_layer_scale},
                 {"recipe",
                  {{"loss", name_of(recipe.loss)},
                   {"optimizer", name_of(recipe.optimizer)},
                   {"learning_rate", recipe.learning_rate},
                   {"momentum", recipe.momentum},
                   {"weight_decay", recipe.weight_decay},
                   {"batch", recipe.batch},
                   {"max_steps", recipe.max_steps},
                   {"until_loss", recipe.until_loss},
                   {"patience", recipe.patience},
                   {"over_loss", recipe.over_loss},
                   {"freeze", recipe.frozen},
                   {"augment", recipe.augment}}},
                 {"stopped_by", training.stopped_by},
                 {"steps", training.steps},
                 {"final_loss", training.final_loss},
                 {"train_accuracy", accuracy_on(data.training.images, data.targets)},
                 {"test_accuracy", accuracy_on(data.held_out, data.held_out_targets)},
                 {"test_calibration_error", calibration_error()},
                 {"test_samples", data.held_out.size(0)},
                 {"loss_curve", curve},
                 {"seconds", seconds}};
  if (data.canaries.size() > 0) {
    record["canaries"] = {{"count", data.canaries.size()},
                          {"included", data.canaries.included.sum().item<std::int64_t>()}};
  }
  record["defense"] = {{"name", request.defense},
                       {"options", request.defense_options},
                       {"distilled", release.support.evidence},
                       {"evidence", release.evidence}};
  return record;
}

void write_run(const fs::path& out, const WrittenRun& run, const DrawnData& data) {
  write_parameters(out / "initial.safetensors", run.initial);
  write_parameters(out / "trained.safetensors", run.release.training.trained);
  write_training_set(out / "training-set.npz", data.training);
  if (data.canaries.size() > 0) write_canaries(out / canaries_file, data.canaries);
  if (run.release.support.images.defined()) {
    write_support_set(out / "support-set.npz", run.release.support, data);
  }
  write_file(out / "training.json", run.record.dump(1) + "\n");
  write_file(out / "model.json", to_json(written_model(run.model, out)).dump(1) + "\n");
}

namespace {

// What training begins with.
struct Prepared {
  ChosenDefense chosen;
  DrawnData data;
  ModelDescription model;
  Generator random;
  Undefended undefended;
};

Prepared prepared(const TrainRequest& request, const Context& context) {
  ChosenDefense chosen = choose_defense(request.defense, request.defense_options);
  context.progress->stage(fmt::format("train: reading {}", request.data));
  DrawnData data = draw_data(request.data, Task::parse(request.task), request.samples, request.inputs, context.seed);
  for (const auto& note : data.notes) context.progress->stage("train: " + note);
  ModelDescription model = model_of(request, request.task, data);
  const std::shared_ptr<const Network> network = model.network();
  Generator random = seeded(stage_seed(context.seed, "initial weights"));
  require_times(request.architecture, data);
  if (const auto student = request.defense_options.find("student"); student != request.defense_options.end()) {
    require_times(student->second, data);
  }
  const Parameters initial = initial_weights(*network, model, request.first_layer_scale, random);
  context.progress->stage(
      fmt::format("train: {} on {} images of {}", request.architecture, request.samples, request.task));
  require_fit(request.recipe.loss, network->outputs());
  static_cast<void>(trainable(initial, request.recipe.frozen));
  Recipe recipe = request.recipe;
  if (data.training.space.is_picture()) recipe.picture_shape = data.training.space.shape;
  if (recipe.augment > 0) require_augmentable(recipe.picture_shape, recipe.augment);
  Undefended undefended = undefended_of(data, network, initial, recipe);
  // Here because a defence may run for hours before it trains.
  chosen.configured.check(undefended);
  require_references(request.references, data);
  return {std::move(chosen), std::move(data), std::move(model), random, std::move(undefended)};
}

}  // namespace

void check_training(const TrainRequest& request, const Context& context) {
  static_cast<void>(prepared(request, context));
}

void train_run(const TrainRequest& request, const Context& context) {
  const auto start = std::chrono::steady_clock::now();
  Prepared before = prepared(request, context);
  const Undefended& undefended = before.undefended;
  DefenseState state(
      request.out, fingerprint_of(undefended, request.architecture, request.defense, request.defense_options, context),
      request.resume);
  const Release release = state.run([&](StateStore& store) {
    Job job{before.random, *context.progress, store};
    return before.chosen.configured.release(undefended, job);
  });
  const Training& training = release.training;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto& student = release.student;
  const ModelDescription released = student ? described(*student, before.model) : before.model;
  const Json record = training_record(request, context, student ? *student->network : *undefended.network, released,
                                      before.data, release, seconds);

  prepare_output_folder(request.out, false);
  write_run(request.out, {released, student ? student->initial : undefended.initial, release, record}, before.data);
  if (request.references > 0) {
    train_references(request.out, request.references, *undefended.network, undefended.initial, before.data,
                     undefended.recipe, before.random, *context.progress);
  }
  state.clear();
  fmt::print(
      "trained {} on {} {}: loss {:.3g} after {} steps (stopped by {}), test accuracy {}\n{}\n", released.architecture,
      before.data.training.images.size(0), before.data.training.space.is_picture() ? "images" : "records",
      training.final_loss, training.steps, training.stopped_by,
      record["test_accuracy"].is_null() ? "unknown" : fmt::format("{:.3f}", record["test_accuracy"].get<double>()),
      request.out);
}

}  // namespace afterimage
