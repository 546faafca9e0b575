#include <fmt/format.h>

#include "audit/commands/checks.h"
#include "audit/commands/commands.h"
#include "audit/commands/subject_options.h"
#include "audit/defense_options.h"
#include "audit/task_sequence.h"
#include "audit/training_run.h"
#include "models/architectures.h"
#include "models/foundations/error.h"

namespace afterimage {

void add_train(CLI::App& app, Context& context, Action& action) {
  struct Options {
    TrainRequest request;
    std::string loss = "squared", optimizer = "sgd";
    std::optional<double> learning_rate;
    std::vector<std::string> defense_options;
    std::string tasks;
    bool dry_run = false;
  };
  auto options = std::make_shared<Options>();
  TrainRequest& request = options->request;
  Recipe& recipe = request.recipe;
  CLI::App* command = app.add_subcommand("train",
                                         "Train a network to be audited, and write its run directory.\n"
                                         "  Example: afterimage train --data fashion-mnist --task odd-even --samples "
                                         "20 --architecture mlp:512,512 --out runs/fashion");
  command->add_option("--data", request.data, data_kinds)->type_name("DATA")->required();
  command->add_option("--task", request.task, "odd-even, classes:A,B, groups:A,B|C,D or multiclass")->type_name("TASK");
  command
      ->add_option("--tasks", options->tasks,
                   "pairs of classes that are learned in turn by --defense gvcl, as in 0,1/2,3; in place of --task")
      ->type_name("A,B/C,D");
  command->add_option("--samples", request.samples, "training images, balanced across classes as far as possible")
      ->type_name("INTEGER")
      ->check(positive_integer())
      ->required();
  command
      ->add_option("--architecture", request.architecture,
                   std::string(architecture_kinds) + "; or torchscript:FILE, trained from the weights in it")
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
  command
      ->add_option("--canaries", request.inputs.canaries,
                   "put each of so many mislabelled images in by a coin, for `audit --canaries`")
      ->type_name("INTEGER")
      ->check(integer_from(20, 1000000));
  command
      ->add_option(
          "--references", request.references,
          "train so many further networks, without the defence, on other images, for the attacks lira and rmia")
      ->type_name("INTEGER")
      ->check(integer_from(1, 1024));
  command->add_flag("--dry-run", options->dry_run, "check the options against the data, and train and write nothing");
  command->add_flag("--resume", request.resume,
                    "continue the defence of an interrupted run with the same options and --out");
  command->callback([options, command, &context, &action] {
    TrainRequest& asked = options->request;
    asked.recipe.loss = parse_loss(options->loss);
    asked.recipe.optimizer = parse_optimizer(options->optimizer);
    asked.recipe.learning_rate = options->learning_rate.value_or(
        asked.parameterization == "ntk" && asked.recipe.optimizer == Optimizer::sgd ? 1.0 : 1e-3);
    asked.defense_options = named_values(options->defense_options);
    static_cast<void>(choose_defense(asked.defense, asked.defense_options));
    if (asked.defense == "gvcl") {
      for (const char* unused :
           {"--steps", "--learning-rate", "--optimizer", "--momentum", "--until-loss", "--patience"}) {
        if (command->count(unused) == 0) continue;
        throw UsageError(
            fmt::format("{}: gvcl trains by its own --defense-option steps= and learning-rate=; leave it out", unused));
      }
    }
    if (asked.task.empty() == options->tasks.empty()) {
      throw UsageError("--task: give it, or --tasks for several in turn, and not both");
    }
    if (asked.task.empty() && options->dry_run) {
      throw UsageError("--dry-run: checks one task; leave it out, or give --task");
    }
    if (asked.task.empty() && asked.references > 0) {
      throw UsageError("--references: are trained for one task; leave it out, or give --task");
    }
    if (asked.task.empty() && asked.inputs.canaries > 0) {
      throw UsageError("--canaries: are put into one task; leave it out, or give --task");
    }
    if (asked.task.empty()) {
      asked.tasks = parse_tasks(options->tasks);
    } else {
      static_cast<void>(Task::parse(asked.task));
    }
    action = [options, &context] {
      require_folder_name("--out", options->request.out);
      if (options->dry_run) {
        check_training(options->request, context);
      } else if (options->request.tasks.empty()) {
        train_run(options->request, context);
      } else {
        train_sequence(options->request, context);
      }
      return static_cast<int>(done);
    };
  });
}

}  // namespace afterimage
