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
#include "models/data/labelled_images.h"
#include "models/data/split.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/json.h"
#include "reports/task_sequence.h"

namespace afterimage {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t prediction_draws = 20;  // networks whose predictions are averaged

struct SequenceTask {
  std::string name;
  DrawnData data;
  ModelDescription model;
};

// A network for one task as it was after another.
struct ReleasedNetwork {
  Parameters weights;
  TaskFigures measured;
  Json evidence;
};

// Everything that has been learned: what --resume continues from.
struct Sequence {
  ContinualLearner learner;
  std::vector<std::vector<ReleasedNetwork>> after;                        // of each task learned, of each so far
  std::vector<std::vector<std::pair<std::int64_t, double>>> curves = {};  // of each task's training
  std::vector<double> seconds = {};                                       // likewise
};

// Text in a state, which holds numbers only.
Tensor text_tensor(const std::string& text) {
  const Tensor bytes = at::empty({static_cast<std::int64_t>(text.size())}, at::kByte);
  std::copy(text.begin(), text.end(), bytes.data_ptr<std::uint8_t>());
  return bytes;
}
std::string text_in(const Tensor& bytes) {
  const Tensor text = bytes.to(at::kByte).contiguous();
  return {text.data_ptr<std::uint8_t>(), text.data_ptr<std::uint8_t>() + text.numel()};
}

State state_of(const Sequence& sequence) {
  State state;
  state.set("seconds", sequence.seconds);
  state.set("learner", sequence.learner.state());
  for (std::size_t t = 0; t < sequence.after.size(); ++t) {
    std::vector<double> curve;
    for (const auto& [step, loss] : sequence.curves[t]) curve.insert(curve.end(), {static_cast<double>(step), loss});
    state.set(fmt::format("curve.{}", t), curve);
    for (std::size_t s = 0; s < sequence.after[t].size(); ++s) {
      const auto& [weights, measured, evidence] = sequence.after[t][s];
      State part;
      for (const auto& [name, tensor] : weights.entries()) part.set(name, tensor);
      part.set("evidence", text_tensor(evidence.dump()));
      part.set("measured", std::vector<double>{measured.accuracy, measured.calibration_error,
                                               measured.averaged_accuracy, measured.averaged_calibration_error});
      state.set(fmt::format("after.{}.{}", t, s), part);
    }
  }
  return state;
}

void restore(Sequence& sequence, const State& state, const Parameters& like) {
  sequence.learner.restore(state.part("learner"));
  sequence.seconds = state.numbers("seconds");
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
      released.push_back({Parameters(std::move(entries)),
                          {measured[0], measured[1], measured[2], measured[3]},
                          parse_json(text_in(part.tensor("evidence")), "the kept state of the tasks")});
    }
  }
}

TaskFigures measured_on(const SequenceTask& task, const Mlp& network, const Parameters& released,
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

// With the preprocessing that all tasks share: no mean, unless --normalize says another.
TrainRequest with_shared_preprocessing(TrainRequest request) {
  InputRequest& inputs = request.inputs;
  if (inputs.mean.empty() && inputs.normalize.empty()) inputs.mean = "none";
  if (inputs.normalize.empty() && inputs.mean != "none") {
    throw UsageError(fmt::format(
        "--mean {}: tasks that are learned in turn share one preprocessing; use none or --normalize", inputs.mean));
  }
  return request;
}

std::vector<SequenceTask> drawn_tasks(const TrainRequest& request, const Context& context) {
  require_drawable(request.samples, request.inputs);
  context.progress->stage(fmt::format("train: reading {}", request.data));
  const LabelledImages all = load_images(request.data, request.inputs.preprocessing);
  for (const auto& note : all.notes) context.progress->stage("train: " + note);
  std::vector<SequenceTask> tasks;
  for (const auto& name : request.tasks) {
    DrawnData data = draw_data(all, request.data, Task::parse(name), request.samples, request.inputs, context.seed);
    if (data.held_out.size(0) == 0) {
      throw UsageError(fmt::format("--samples {}: leaves no image of {} to measure the accuracy on; ask for fewer",
                                   request.samples, name));
    }
    data.others = Tensor();
    ModelDescription model = model_of(request, name, data);
    tasks.push_back({name, std::move(data), std::move(model)});
  }
  return tasks;
}

TaskSequence summary_of(const Sequence& sequence, const TrainRequest& request, const Context& context) {
  TaskSequence summary;
  summary.tool = context.tool();
  summary.source = request.data;
  summary.architecture = request.architecture;
  summary.samples = request.samples;
  summary.tasks = request.tasks;
  summary.defense = request.defense;
  summary.options = request.defense_options;
  summary.evidence = sequence.after.back().back().evidence;
  summary.prediction_draws = prediction_draws;
  for (const auto& released : sequence.after) {
    auto& row = summary.after.emplace_back();
    for (const auto& network : released) row.push_back(network.measured);
  }
  return summary;
}

void require_sequence(const TrainRequest& request) {
  if (request.defense != gvcl_defense().name) {
    throw UsageError(
        "--tasks: only --defense gvcl learns tasks in turn; with beta=0 and lambda=0 it trains one after another "
        "without keeping any");
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
    for (const Tensor& part :
         {task.data.training.images, task.data.targets, task.data.held_out, task.data.held_out_targets}) {
      text += "|" + digest_of(part);
    }
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
      const auto digits = name.find_first_not_of('0');  // 01 is class 1
      if (seen.insert(name.substr(std::min(digits, name.size() - 1))).second) continue;
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

void train_sequence(const TrainRequest& typed, const Context& context) {
  require_sequence(typed);
  require_gvcl_recipe(typed.recipe);
  const TrainRequest request = with_shared_preprocessing(typed);
  const OptionValues options(gvcl_defense().options, request.defense_options);
  GvclSettings settings = gvcl_settings(options);
  settings.batch = request.recipe.batch;
  const bool sample = options.one_of("release", {"mean", "sample"}) == "sample";
  const std::vector<SequenceTask> tasks = drawn_tasks(request, context);
  const std::shared_ptr<const Network> made = tasks.front().model.network();
  const Mlp& network = gvcl_network(*made);
  for (const auto& task : tasks) require_fit(request.recipe.loss, network.outputs(), task.data.targets);
  Generator drawn = seeded(stage_seed(context.seed, "initial weights"));
  const Parameters initial = network.draw_initial(drawn).value();

  DefenseState kept(request.out, fingerprint_of_sequence(tasks, request, initial, context), request.resume);
  bool learned_before = false;  // all of it, by a run that was killed while it wrote its output
  const Sequence sequence = kept.run([&](StateStore& store) {
    Sequence learned{ContinualLearner(network, initial, request.recipe.loss, settings), {}};
    if (const State state = store.take(); !state.empty()) restore(learned, state, initial);
    auto t = static_cast<std::size_t>(learned.learner.tasks());
    learned_before = t == tasks.size();
    for (; t < tasks.size(); ++t) {
      const auto start = std::chrono::steady_clock::now();
      Generator random = seeded(stage_seed(context.seed, fmt::format("task {}", t)));
      context.progress->stage(fmt::format("train: task {} of {}, {}", t + 1, tasks.size(), tasks[t].name));
      learned.learner.learn(tasks[t].data.training.images, tasks[t].data.targets, random, *context.progress);
      learned.curves.push_back(learned.learner.curve());
      learned.seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      auto& after = learned.after.emplace_back();
      for (std::size_t s = 0; s <= t; ++s) {
        const DiagonalGaussian weights = learned.learner.weights(static_cast<std::int64_t>(s));
        ReleasedNetwork released{gvcl_released(weights, sample, random), {}, gvcl_evidence(settings, weights, sample)};
        released.measured = measured_on(tasks[s], network, released.weights, weights, random);
        after.push_back(std::move(released));
      }
      store.keep(state_of(learned));
    }
    return learned;
  });

  const TaskSequence summary = summary_of(sequence, request, context);
  const std::string document = to_json(summary).dump(1) + "\n", page = render_html(summary);
  prepare_output_folder(request.out, learned_before);
  const fs::path out(request.out);
  for (std::size_t t = 0; t < tasks.size(); ++t) {
    for (std::size_t s = 0; s <= t; ++s) {
      const SequenceTask& task = tasks[s];
      Release release;
      release.training = {sequence.after[t][s].weights, "steps", settings.steps, 0, sequence.curves[s]};
      release.training.final_loss =
          loss_of(request.recipe.loss, network.evaluate(release.training.trained, task.data.training.images),
                  task.data.targets);
      release.recipe = gvcl_recipe(settings, request.recipe.loss);
      release.evidence = sequence.after[t][s].evidence;
      Json record = training_record(request, context, network, task.model, task.data, release, sequence.seconds[s]);
      record["task"] = s + 1;
      record["after_task"] = t + 1;
      const fs::path folder = out / fmt::format("after-{}", t + 1) / fmt::format("task-{}", s + 1);
      fs::create_directories(folder);
      write_run(folder, {task.model, sequence.learner.before(static_cast<std::int64_t>(s)), release, record},
                task.data);
    }
  }
  write_file(out / "tasks.html", page);
  write_file(out / "tasks.json", document);
  kept.clear();
  fmt::print(
      "learned {} tasks: average accuracy {:.3f}, calibration error {:.3f}; of averaged predictions {:.3f} and {:.3f}, "
      "forgetting {:.3f}\n{}\n",
      tasks.size(), summary.mean_after_all(&TaskFigures::accuracy),
      summary.mean_after_all(&TaskFigures::calibration_error), summary.mean_after_all(&TaskFigures::averaged_accuracy),
      summary.mean_after_all(&TaskFigures::averaged_calibration_error), summary.forgetting(), request.out);
}

}  // namespace afterimage
