#include "audit/task_sequence.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "audit/defense_options.h"
#include "audit/defense_state.h"
#include "audit/interrupted.h"
#include "defenses/baselines.h"
#include "defenses/gvcl.h"
#include "models/calibration.h"
#include "models/data/split.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"

namespace afterimage {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t prediction_draws = 20;  // networks whose predictions are averaged

struct SequenceTask {
  std::string name;
  DrawnData data;
  ModelDescription model;
};

// On a task's held-out images, after some task was learned.
struct Measured {
  double accuracy = 0, calibration_error = 0;                    // of the released network
  double averaged_accuracy = 0, averaged_calibration_error = 0;  // of averaged predictions
};

// A network for one task as it was after another.
struct ReleasedNetwork {
  Parameters weights;
  Measured measured;
};

// Everything that has been learned: what --resume continues from.
struct Sequence {
  ContinualLearner learner;
  std::vector<std::vector<ReleasedNetwork>> after;                        // of each task learned, of each so far
  std::vector<std::vector<std::pair<std::int64_t, double>>> curves = {};  // of each task's training
};

State state_of(const Sequence& sequence) {
  State state;
  state.set("learner", sequence.learner.state());
  for (std::size_t t = 0; t < sequence.after.size(); ++t) {
    std::vector<double> curve;
    for (const auto& [step, loss] : sequence.curves[t]) curve.insert(curve.end(), {static_cast<double>(step), loss});
    state.set(fmt::format("curve.{}", t), curve);
    for (std::size_t s = 0; s < sequence.after[t].size(); ++s) {
      const auto& [weights, measured] = sequence.after[t][s];
      State part;
      for (const auto& [name, tensor] : weights.entries()) part.set(name, tensor);
      part.set("measured", std::vector<double>{measured.accuracy, measured.calibration_error,
                                               measured.averaged_accuracy, measured.averaged_calibration_error});
      state.set(fmt::format("after.{}.{}", t, s), part);
    }
  }
  return state;
}

void restore(Sequence& sequence, const State& state, const Parameters& like) {
  sequence.learner.restore(state.part("learner"));
  for (std::int64_t t = 0; t < sequence.learner.tasks(); ++t) {
    const std::vector<double> curve = state.numbers(fmt::format("curve.{}", t));
    auto& points = sequence.curves.emplace_back();
    for (std::size_t i = 0; i + 1 < curve.size(); i += 2) {
      points.emplace_back(static_cast<std::int64_t>(curve[i]), curve[i + 1]);
    }
    auto& released = sequence.after.emplace_back();
    for (std::int64_t s = 0; s <= t; ++s) {
      const State part = state.part(fmt::format("after.{}.{}", t, s));
      std::vector<Parameters::Entry> entries;
      for (const auto& [name, tensor] : like.entries()) entries.emplace_back(name, part.tensor(name));
      const std::vector<double> measured = part.numbers("measured");
      if (measured.size() != 4) throw InputError("the kept state of the tasks is damaged; start without --resume");
      released.push_back({Parameters(std::move(entries)), {measured[0], measured[1], measured[2], measured[3]}});
    }
  }
}

Measured measured_on(const SequenceTask& task, const Mlp& network, const Parameters& released,
                     const DiagonalGaussian& weights, Generator& random) {
  const Tensor &images = task.data.held_out, &targets = task.data.held_out_targets;
  const LossKind loss = *task.model.loss;
  const Tensor classes = classes_of(targets);
  const Tensor outputs = network.evaluate(released, images);
  const Tensor averaged = averaged_predictions(network, weights, images, loss, prediction_draws, random);
  return {accuracy(outputs, targets), expected_calibration_error(class_probabilities(outputs, loss), classes),
          (averaged.argmax(1) == classes).to(at::kDouble).mean().item<double>(),
          expected_calibration_error(averaged, classes)};
}

std::vector<SequenceTask> drawn_tasks(const TrainRequest& request, const Context& context) {
  TrainRequest asked = request;
  if (asked.inputs.mean.empty() && asked.inputs.normalize.empty()) asked.inputs.mean = "none";
  if (asked.inputs.normalize.empty() && asked.inputs.mean != "none") {
    throw UsageError(
        fmt::format("--mean {}: tasks that are learned in turn share one preprocessing; use none or --normalize",
                    asked.inputs.mean));
  }
  std::vector<SequenceTask> tasks;
  for (const auto& name : request.tasks) {
    context.progress->stage(fmt::format("train: reading {} for {}", request.data, name));
    DrawnData data = draw_data(request.data, Task::parse(name), request.samples, asked.inputs, context.seed);
    for (const auto& note : data.notes) context.progress->stage("train: " + note);
    if (data.held_out.size(0) == 0) {
      throw UsageError(fmt::format("--samples {}: leaves no image of {} to measure the accuracy on; ask for fewer",
                                   request.samples, name));
    }
    ModelDescription model = model_of(request, name, data);
    tasks.push_back({name, std::move(data), std::move(model)});
  }
  return tasks;
}

Json column(const std::vector<ReleasedNetwork>& released, double Measured::*member) {
  Json values = Json::array();
  for (const auto& network : released) values.push_back(network.measured.*member);
  return values;
}

double mean_of(const std::vector<ReleasedNetwork>& released, double Measured::*member) {
  double sum = 0;
  for (const auto& network : released) sum += network.measured.*member;
  return sum / static_cast<double>(released.size());
}

// The mean over all tasks but the last of how much was lost since a task was known best.
double forgetting(const Sequence& sequence) {
  const auto& last = sequence.after.back();
  double sum = 0;
  for (std::size_t s = 0; s + 1 < last.size(); ++s) {
    double best = 0;
    for (std::size_t t = s; t + 1 < sequence.after.size(); ++t) {
      best = std::max(best, sequence.after[t][s].measured.averaged_accuracy);
    }
    sum += best - last[s].measured.averaged_accuracy;
  }
  return sum / static_cast<double>(last.size() - 1);
}

Json summary_of(const Sequence& sequence, const TrainRequest& request, const Context& context, const Json& evidence) {
  Json after = Json::array();
  for (const auto& released : sequence.after) {
    after.push_back({{"accuracy", column(released, &Measured::accuracy)},
                     {"calibration_error", column(released, &Measured::calibration_error)},
                     {"averaged_accuracy", column(released, &Measured::averaged_accuracy)},
                     {"averaged_calibration_error", column(released, &Measured::averaged_calibration_error)}});
  }
  const auto& last = sequence.after.back();
  return {{"schema", "afterimage.tasks/1"},
          {"data", request.data},
          {"tasks", request.tasks},
          {"samples", request.samples},
          {"seed", context.seed},
          {"defense", {{"name", request.defense}, {"options", request.defense_options}, {"evidence", evidence}}},
          {"prediction_draws", prediction_draws},
          {"after", after},
          {"average_accuracy", mean_of(last, &Measured::accuracy)},
          {"average_calibration_error", mean_of(last, &Measured::calibration_error)},
          {"averaged_predictions",
           {{"average_accuracy", mean_of(last, &Measured::averaged_accuracy)},
            {"average_calibration_error", mean_of(last, &Measured::averaged_calibration_error)},
            {"forgetting", forgetting(sequence)}}}};
}

void require_sequence(const TrainRequest& request) {
  if (request.defense != gvcl_defense().name) {
    throw UsageError(
        "--tasks: only --defense gvcl learns tasks in turn; with beta=0 and lambda=0 it trains one after another "
        "without "
        "keeping any");
  }
  if (request.first_layer_scale != 1) throw UsageError("--first-layer-scale: not used with --tasks; leave it out");
  if (request.recipe.loss == LossKind::squared) {
    throw UsageError("--loss squared: calibration needs probabilities; use --loss logistic with --tasks");
  }
}

std::string fingerprint_of_sequence(const std::vector<SequenceTask>& tasks, const TrainRequest& request,
                                    const Parameters& initial, const Context& context) {
  std::string text = fingerprint_text(context, request.defense, request.defense_options) + "|" + request.architecture;
  text += fmt::format("|{}|{}|{}", request.parameterization, request.recipe.batch, fmt::join(request.tasks, "/"));
  for (const auto& task : tasks)
    text += "|" + digest_of(task.data.training.images) + "|" + digest_of(task.data.targets);
  for (const auto& [name, tensor] : initial.entries()) text += "|" + digest_of(tensor);
  return sha256_of(text);
}

}  // namespace

std::vector<std::string> parse_tasks(const std::string& text) {
  std::vector<std::string> tasks;
  std::set<std::string> seen;
  std::string_view rest = text;
  for (bool more = true; more;) {
    const auto slash = rest.find('/');
    const std::string pair(rest.substr(0, slash));
    more = slash != std::string_view::npos;
    if (more) rest.remove_prefix(slash + 1);
    const auto comma = pair.find(',');
    if (comma == std::string::npos || comma == 0 || comma + 1 == pair.size() ||
        pair.find(',', comma + 1) != std::string::npos) {
      throw UsageError(fmt::format("--tasks {}: \"{}\" has to be two classes, as in 0,1/2,3", text, pair));
    }
    for (const auto& name : {pair.substr(0, comma), pair.substr(comma + 1)}) {
      if (seen.insert(name).second) continue;
      throw UsageError(fmt::format("--tasks {}: class {} is named twice; each may be in one task only", text, name));
    }
    tasks.push_back("classes:" + pair);
    static_cast<void>(Task::parse(tasks.back()));
  }
  if (tasks.size() < 2) {
    throw UsageError(fmt::format("--tasks {}: has to be two tasks or more, as in 0,1/2,3; use --task for one", text));
  }
  return tasks;
}

void train_sequence(const TrainRequest& request, const Context& context) {
  const auto start = std::chrono::steady_clock::now();
  require_sequence(request);
  require_gvcl_recipe(request.recipe);
  const OptionValues options(gvcl_defense().options, request.defense_options);
  GvclSettings settings = gvcl_settings(options);
  settings.batch = request.recipe.batch;
  const bool sample = options.one_of("release", {"mean", "sample"}) == "sample";
  const std::vector<SequenceTask> tasks = drawn_tasks(request, context);
  const std::shared_ptr<const Network> made = tasks.front().model.network();
  const Mlp& network = gvcl_network(*made);
  require_fit(request.recipe.loss, network.outputs());
  Generator drawn = seeded(stage_seed(context.seed, "initial weights"));
  const Parameters initial = network.draw_initial(drawn).value();

  DefenseState kept(request.out, fingerprint_of_sequence(tasks, request, initial, context), request.resume);
  const Sequence sequence = kept.run([&](StateStore& store) {
    Sequence learned{ContinualLearner(network, initial, request.recipe.loss, settings), {}};
    if (const State state = store.take(); !state.empty()) restore(learned, state, initial);
    for (auto t = static_cast<std::size_t>(learned.learner.tasks()); t < tasks.size(); ++t) {
      Generator random = seeded(stage_seed(context.seed, fmt::format("task {}", t)));
      context.progress->stage(fmt::format("train: task {} of {}, {}", t + 1, tasks.size(), tasks[t].name));
      learned.learner.learn(tasks[t].data.training.images, tasks[t].data.targets, random, *context.progress);
      learned.curves.push_back(learned.learner.curve());
      auto& after = learned.after.emplace_back();
      for (std::size_t s = 0; s <= t; ++s) {
        const DiagonalGaussian weights = learned.learner.weights(static_cast<std::int64_t>(s));
        const bool noisy = sample && weights.variance.size() > 0;
        ReleasedNetwork released{noisy ? weights.draw(random) : weights.mean, {}};
        released.measured = measured_on(tasks[s], network, released.weights, weights, random);
        after.push_back(std::move(released));
      }
      store.keep(state_of(learned));
    }
    return learned;
  });

  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const Json evidence = gvcl_evidence(settings, sequence.learner.weights(static_cast<std::int64_t>(tasks.size()) - 1));
  const Json summary = summary_of(sequence, request, context, evidence);
  prepare_output_folder(request.out, false);
  const fs::path out(request.out);
  for (std::size_t t = 0; t < tasks.size(); ++t) {
    for (std::size_t s = 0; s <= t; ++s) {
      const SequenceTask& task = tasks[s];
      Release release;
      release.training = {sequence.after[t][s].weights, "steps", settings.steps, 0, sequence.curves[s]};
      release.training.final_loss =
          loss_of(request.recipe.loss, network.evaluate(release.training.trained, task.data.training.images),
                  task.data.targets);
      release.evidence = evidence;
      Json record = training_record(request, context, network, task.model, task.data, release, seconds);
      record["task"] = s + 1;
      record["after_task"] = t + 1;
      const fs::path folder = out / fmt::format("after-{}", t + 1) / fmt::format("task-{}", s + 1);
      fs::create_directories(folder);
      write_run(folder, {task.model, sequence.learner.before(static_cast<std::int64_t>(s)), release, record},
                task.data);
    }
  }
  write_file(out / "tasks.json", summary.dump(1) + "\n");
  kept.clear();
  const Json& averaged = summary["averaged_predictions"];
  fmt::print(
      "learned {} tasks: average accuracy {:.3f}, calibration error {:.3f}; of averaged predictions {:.3f} and {:.3f}, "
      "forgetting {:.3f}\n{}\n",
      tasks.size(), summary["average_accuracy"].get<double>(), summary["average_calibration_error"].get<double>(),
      averaged["average_accuracy"].get<double>(), averaged["average_calibration_error"].get<double>(),
      averaged["forgetting"].get<double>(), request.out);
}

}  // namespace afterimage
