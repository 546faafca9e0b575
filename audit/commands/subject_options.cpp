#include "audit/commands/subject_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "audit/commands/checks.h"
#include "audit/references.h"
#include "models/foundations/error.h"
#include "models/mlp.h"

namespace afterimage {
namespace {

// While options are read only CLI's own errors are caught.
std::pair<std::int64_t, std::int64_t> size_in(const std::string& text) {
  try {
    return parse_size(text);
  } catch (const UsageError& error) {
    throw CLI::ValidationError(error.what());
  }
}

}  // namespace

void SubjectOptions::add_to(CLI::App& command) {
  command.add_option("RUN", run, "run directory that `afterimage train` wrote")->type_name("FOLDER");
  command.add_flag("--unknown-start", unknown_start,
                   "leave out the initial weights of RUN, as for an attacker who does not know them");
  command
      .add_option(
          "--reference", files.references,
          "weights of a reference model, trained in the same way on records that are not scored; may be repeated")
      ->type_name("FILE");
  command.add_flag("--canaries", canaries,
                   "the canaries of RUN in place of its training set: those that the coin put in against those that it "
                   "left out");
  command
      .add_option("--initial", files.initial,
                  "weights before training (.safetensors, .pt, .npz); leave out where the attacker does not know them")
      ->type_name("FILE");
  command.add_option("--trained", files.trained, "weights after training")->type_name("FILE");
  command
      .add_option(
          "--key", files.key,
          "which state dict of a PyTorch checkpoint with several, e.g. model or ema.model; or what the names in "
          "one begin with, e.g. teacher")
      ->type_name("NAME");
  command
      .add_option("--model", files.model,
                  "model.json: architecture, input shape, outputs, task, loss; without it the architecture is "
                  "inferred from the shapes of fully connected layers")
      ->type_name("FILE");
  command
      .add_option(
          "--task", files.task,
          "meaning of the labels, as in odd-even, where there is no --model (default: multiclass for several outputs)")
      ->type_name("TASK");
  command.add_flag(
      "--allow-torchscript", files.allow_torchscript,
      "run the code in the archive that model.json names as torchscript:FILE; it has this program's rights, so "
      "give this only for files that you trust");
  command
      .add_option("--training-set", files.training_set,
                  "what was trained on, as network inputs: .npz, or DATA as in csv:FILE")
      ->type_name("FILE");
  command
      .add_option("--control", control.data,
                  "DATA that was not trained on (default: drawn from the training data's source)")
      ->type_name("DATA");
  command.add_option("--control-samples", control.count, "most control images (default 1000)")
      ->type_name("INTEGER")
      ->check(integer_from(20, 1000000));
}

void SubjectOptions::validate() const {
  const bool any_file = !(files.initial + files.trained + files.model + files.training_set).empty();
  if (!run.empty() && any_file) throw UsageError("give either RUN or --initial, --trained, --model and --training-set");
  if (unknown_start && !files.initial.empty()) {
    throw UsageError("--unknown-start: --initial is given as well; leave one of them out");
  }
  if (canaries && run.empty()) throw UsageError("--canaries: needs RUN, of `afterimage train --canaries`");
  if (!run.empty()) {
    if (!files.task.empty()) throw UsageError("--task: RUN contains it; leave it out");
    return;
  }
  for (const auto& [option, value] : {std::pair{"--trained", files.trained}, {"--training-set", files.training_set}}) {
    if (value.empty())
      throw UsageError(fmt::format(
          "{}: missing; give RUN, or --trained and --training-set, with --model and --initial where they are known",
          option));
  }
  if (!files.model.empty() && !files.task.empty()) throw UsageError("--task: --model contains it; leave it out");
}

AuditInput SubjectOptions::load(std::int64_t seed) const {
  validate();
  if (!run.empty()) {
    SubjectFiles in_run = files_of_run(run, !unknown_start);
    in_run.allow_torchscript = files.allow_torchscript;
    in_run.key = files.key;
    RunReferences known = references_of_run(run);
    in_run.references = std::move(known.files);
    in_run.references.insert(in_run.references.end(), files.references.begin(), files.references.end());
    in_run.references_trained_on = known.trained_on;
    if (canaries) in_run.canaries = canaries_of_run(run);
    return load_audit_input(in_run, control, seed);
  }
  AuditInput loaded = load_audit_input(files, control, seed);
  if (files.model.empty()) {
    fmt::print(stderr, "inferred {}{}, {} output(s), task {}; give --model where that is wrong\n",
               loaded.model.architecture, loaded.model.architecture == linear_family ? "" : " with ReLUs",
               loaded.model.outputs, loaded.model.task);
  }
  return loaded;
}

void add_input_options(CLI::App& command, InputRequest& request, const std::string& group) {
  command
      .add_option("--mean", request.mean,
                  "mean image taken off: training, public (images outside it) or none (default training)")
      ->type_name("training|public|none")
      ->group(group);
  command
      .add_option("--normalize", request.normalize,
                  "MEAN,STD: inputs are (pixel - MEAN) / STD, each one number or one for each channel, as in "
                  "0.49/0.48/0.45,0.25/0.24/0.26; in place of --mean")
      ->type_name("MEAN,STD")
      ->group(group);
  command
      .add_option_function<std::string>(
          "--resize", [&request](const std::string& text) { request.preprocessing.size = size_in(text); },
          "HEIGHTxWIDTH that every picture is brought to")
      ->type_name("HEIGHTxWIDTH")
      ->group(group);
  command.add_flag("--grey", request.preprocessing.grey, "convert coloured pictures to grey")->group(group);
}

void add_declared(CLI::App& command, const std::vector<OptionSpec>& specs, const std::string& owner,
                  std::map<std::string, std::string>& given) {
  for (const auto& spec : specs) {
    const std::string flag = "--" + spec.name;
    if (command.get_option_no_throw(flag) != nullptr) continue;
    command
        .add_option_function<std::string>(
            flag, [&given, name = spec.name](const std::string& value) { given[name] = value; },
            fmt::format("{} (default {})", spec.description, spec.fallback))
        ->type_name(spec.type)
        ->check(CLI::Validator([type = spec.type](const std::string& text) { return type_fault(type, text); }, ""))
        ->group(owner);
  }
}

void add_attack_options(CLI::App& command, std::map<std::string, std::string>& given) {
  for (const auto& attack : all_attacks()) add_declared(command, attack.options, attack.name, given);
}

void require_used(const std::map<std::string, std::string>& given, const std::vector<std::string>& attacks) {
  for (const auto& [option, value] : given) {
    std::vector<std::string> owners;
    for (const auto& attack : all_attacks()) {
      if (has_option(attack.options, option)) owners.push_back(attack.name);
    }
    if (std::find_first_of(owners.begin(), owners.end(), attacks.begin(), attacks.end()) != owners.end()) continue;
    throw UsageError(fmt::format("--{}: an option of {} but not of {}; leave it out", option,
                                 fmt::join(owners, " and "), fmt::join(attacks, ", ")));
  }
}

}  // namespace afterimage
