#include "audit/commands/train.h"

#include <fmt/format.h>

#include <chrono>
#include <filesystem>

#include "audit/audit_input.h"
#include "audit/commands/checks.h"
#include "audit/commands/commands.h"
#include "audit/commands/subject_options.h"
#include "audit/defense_options.h"
#include "audit/defense_state.h"
#include "audit/drawn_data.h"
#include "audit/run_directory.h"
#include "audit/support_set.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/scripted_network.h"
#include "models/weights.h"
#include "reports/json_parts.h"

namespace afterimage {
namespace {

namespace fs = std::filesystem;

Json record_of(const TrainRequest& request, const Context& context, const Network& network,
               const ModelDescription& model, const DrawnData& data, const Release& release, double seconds) {
  const Training& training = release.training;
  const auto accuracy_on = [&](const Tensor& images, const Tensor& targets) {
    if (images.size(0) == 0) return Json(nullptr);
    return Json(accuracy(model.class_outputs(network.evaluate(training.trained, images)), targets));
  };
  Json mean = request.inputs.mean.empty() ? "training" : request.inputs.mean;
  if (!request.inputs.normalize.empty()) mean = "normalize " + request.inputs.normalize;
  Json class_names = Json::array();
  for (const auto& name : data.class_names) class_names.push_back(json::utf8(name));
  Json curve = Json::array();
  for (const auto& [step, loss] : training.curve) curve.push_back({step, loss});
  const Recipe& recipe = request.recipe;
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
                 {"test_samples", data.held_out.size(0)},
                 {"loss_curve", curve},
                 {"seconds", seconds}};
  record["defense"] = {{"name", request.defense},
                       {"options", request.defense_options},
                       {"distilled", release.support.evidence},
                       {"evidence", release.evidence}};
  return record;
}

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

void train_run(const TrainRequest& request, const Context& context) {
  const auto start = std::chrono::steady_clock::now();
  const ChosenDefense chosen = choose_defense(request.defense, request.defense_options);
  require_folder_name("--out", request.out);
  context.progress->stage(fmt::format("train: reading {}", request.data));
  const DrawnData data =
      draw_data(request.data, Task::parse(request.task), request.samples, request.inputs, context.seed);
  for (const auto& note : data.notes) context.progress->stage("train: " + note);
  const ModelDescription model{request.architecture,
                               request.parameterization,
                               data.training.space.shape,
                               data.targets.size(1),
                               request.task,
                               request.recipe.loss,
                               request.inputs.preprocessing,
                               {},
                               request.allow_torchscript,
                               {},
                               data.columns};
  const std::shared_ptr<const Network> network = model.network();
  Generator random = seeded(stage_seed(context.seed, "initial weights"));
  const Parameters initial = initial_weights(*network, model, request.first_layer_scale, random);
  context.progress->stage(
      fmt::format("train: {} on {} images of {}", request.architecture, request.samples, request.task));
  // Checked here because a defence may run for hours before it trains.
  require_fit(request.recipe.loss, network->outputs());
  static_cast<void>(trainable(initial, request.recipe.frozen));
  Recipe recipe = request.recipe;
  recipe.picture_shape = data.training.space.shape;
  const Undefended undefended = undefended_of(data, network, initial, recipe);
  DefenseState state(
      request.out, fingerprint_of(undefended, request.architecture, request.defense, request.defense_options, context),
      request.resume);
  const Release release = state.run([&](StateStore& store) {
    Job job{random, *context.progress, store};
    return chosen.configured.release(undefended, job);
  });
  const Training& training = release.training;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto& student = release.student;
  const ModelDescription released = student ? described(*student, model) : model;
  const Json record =
      record_of(request, context, student ? *student->network : *network, released, data, release, seconds);

  prepare_output_folder(request.out, false);
  const fs::path out(request.out);
  write_parameters(out / "initial.safetensors", student ? student->initial : initial);
  write_parameters(out / "trained.safetensors", training.trained);
  write_training_set(out / "training-set.npz", data.training);
  if (release.support.images.defined()) {
    write_support_set(out / "support-set.npz", release.support, data);
  }
  write_file(out / "training.json", record.dump(1) + "\n");
  write_file(out / "model.json", to_json(written_model(released, out)).dump(1) + "\n");
  state.clear();
  fmt::print(
      "trained {} on {} images: loss {:.3g} after {} steps (stopped by {}), test accuracy {}\n{}\n",
      released.architecture, request.samples, training.final_loss, training.steps, training.stopped_by,
      record["test_accuracy"].is_null() ? "unknown" : fmt::format("{:.3f}", record["test_accuracy"].get<double>()),
      request.out);
}

void add_train(CLI::App& app, Context& context, Action& action) {
  struct Options {
    TrainRequest request;
    std::string loss = "squared", optimizer = "sgd";
    std::optional<double> learning_rate;
    std::vector<std::string> defense_options;
  };
  auto options = std::make_shared<Options>();
  TrainRequest& request = options->request;
  Recipe& recipe = request.recipe;
  CLI::App* command = app.add_subcommand("train",
                                         "Train a network to be audited, and write its run directory.\n"
                                         "  Example: afterimage train --data fashion-mnist --task odd-even --samples "
                                         "20 --architecture mlp:512,512 --out runs/fashion");
  command->add_option("--data", request.data, data_kinds)->type_name("DATA")->required();
  command->add_option("--task", request.task, "odd-even, classes:A,B, groups:A,B|C,D or multiclass")
      ->type_name("TASK")
      ->required();
  command->add_option("--samples", request.samples, "training images, balanced across classes as far as possible")
      ->type_name("INTEGER")
      ->check(positive_integer())
      ->required();
  command
      ->add_option(
          "--architecture", request.architecture,
          "mlp:WIDTH,WIDTH,... (hidden widths, ReLU); rnn:, lstm:, gru: or cfc:WIDTH (reads pictures row by row) and "
          "low-rank-mlp:WIDTH,WIDTH,..., each perhaps with ,rank=R,sparsity=S,mask=SEED; or torchscript:FILE, "
          "trained from the weights in it")
      ->type_name("ARCH")
      ->required();
  command->add_flag(
      "--allow-torchscript", request.allow_torchscript,
      "run the code in torchscript:FILE; it has this program's rights, so give this only for files that you trust");
  command
      ->add_option("--freeze", recipe.frozen,
                   "parameters whose names begin so keep their initial values, as in conv1,layer1. (fine-tuning)")
      ->type_name("PREFIX")
      ->delimiter(',');
  command->add_option("--out", request.out, "new or empty folder")->type_name("FOLDER")->required();
  command->add_option("--parameterization", request.parameterization, "standard or ntk (default standard)")
      ->type_name("standard|ntk");
  add_input_options(*command, request.inputs);
  command->add_option("--loss", options->loss, "squared, logistic or cross-entropy (default squared)")
      ->type_name("squared|logistic|cross-entropy");
  command->add_option("--optimizer", options->optimizer, "sgd or adam (default sgd)")->type_name("sgd|adam");
  command->add_option("--learning-rate", options->learning_rate, "step size (default 1e-3; sgd with ntk: 1)")
      ->type_name("NUMBER")
      ->check(positive_number());
  command->add_option("--momentum", recipe.momentum, "of sgd (default 0.9)")
      ->type_name("NUMBER")
      ->check(number_from(0, 0.9999));
  command->add_option("--weight-decay", recipe.weight_decay, "L2 (default 0)")
      ->type_name("NUMBER")
      ->check(nonnegative_number());
  command->add_option("--batch", recipe.batch, "images per step; 0: all (default 0)")
      ->type_name("INTEGER")
      ->check(nonnegative_integer());
  command
      ->add_option(
          "--augment", recipe.augment,
          "in each step, mirror each image at random and shift it by up to this many pixels (default 0: neither)")
      ->type_name("INTEGER")
      ->check(nonnegative_integer());
  command->add_option("--steps", recipe.max_steps, "most steps (default 100000)")
      ->type_name("INTEGER")
      ->check(positive_integer());
  command->add_option("--until-loss", recipe.until_loss, "stop below this loss; 0: never (default 1e-7)")
      ->type_name("NUMBER")
      ->check(nonnegative_number());
  command
      ->add_option("--patience", recipe.patience, "stop after this many steps without progress; 0: never (default 0)")
      ->type_name("INTEGER")
      ->check(nonnegative_integer());
  command->add_flag("--over-loss", recipe.over_loss,
                    "divide gradients by the loss once it is below 1, so that small logistic and cross-entropy losses "
                    "fall as fast as "
                    "large ones");
  command
      ->add_option("--first-layer-scale", request.first_layer_scale,
                   "factor of the first layer's initial weights (default 1)")
      ->type_name("NUMBER")
      ->check(positive_number());
  command
      ->add_option(
          "--defense", request.defense,
          "how the training images are protected; an audit of the run still compares with them (see attack list; "
          "default none)")
      ->type_name("NAME");
  command
      ->add_option("--defense-option", options->defense_options,
                   "NAME=VALUE, an option of the defence; may be repeated")
      ->type_name("NAME=VALUE");
  command->add_flag("--resume", request.resume,
                    "continue the defence of an interrupted run with the same options and --out");
  command->callback([options, &context, &action] {
    TrainRequest& asked = options->request;
    asked.recipe.loss = parse_loss(options->loss);
    asked.recipe.optimizer = parse_optimizer(options->optimizer);
    asked.recipe.learning_rate = options->learning_rate.value_or(
        asked.parameterization == "ntk" && asked.recipe.optimizer == Optimizer::sgd ? 1.0 : 1e-3);
    asked.defense_options = named_values(options->defense_options);
    static_cast<void>(choose_defense(asked.defense, asked.defense_options));
    static_cast<void>(Task::parse(asked.task));
    action = [options, &context] {
      train_run(options->request, context);
      return static_cast<int>(done);
    };
  });
}

}  // namespace afterimage
