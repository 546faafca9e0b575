#include "audit/commands/subject_options.h"

#include <fmt/format.h>

#include <set>

#include "models/base/error.h"

namespace afterimage {

void SubjectOptions::add_to(CLI::App& command) {
  command.add_option("RUN", run, "run directory that `afterimage train` wrote");
  command.add_flag("--unknown-start", unknown_start,
                   "leave out the initial weights of RUN, as for an attacker who does not know them");
  command.add_option("--initial", files.initial,
                     "weights before training (.safetensors, .npz, for torchscript:FILE also .pt archives); left out "
                     "where the attacker does not know them");
  command.add_option("--trained", files.trained, "weights after training");
  command.add_option("--model", files.model, "model.json: architecture, input shape, outputs, task");
  command.add_flag("--allow-torchscript", files.allow_torchscript,
                   "run the code in the archive that model.json names as torchscript:FILE: such a file can do all that "
                   "this program may, so give this only for files that you trust");
  command.add_option("--training-set", files.training_set,
                     "images that were trained on, as the network saw them (.npz)");
  command.add_option("--control", control.data,
                     "DATA known not to have been trained on; else drawn from the training data's source");
  command.add_option("--control-samples", control.count, "control images at most")->check(CLI::Range(20, 1000000));
}

Case SubjectOptions::load(std::int64_t seed) const {
  const bool any_file = !(files.initial + files.trained + files.model + files.training_set).empty();
  if (!run.empty() && any_file) throw UsageError("give either RUN or --initial, --trained, --model and --training-set");
  if (unknown_start && !files.initial.empty()) {
    throw UsageError("--unknown-start: --initial is given as well; leave one of them out");
  }
  if (!run.empty()) {
    SubjectFiles in_run = files_of_run(run, !unknown_start);
    in_run.allow_torchscript = files.allow_torchscript;
    return load_case(in_run, control, seed);
  }
  for (const auto& [option, value] :
       {std::pair{"--trained", files.trained}, {"--model", files.model}, {"--training-set", files.training_set}}) {
    if (value.empty())
      throw UsageError(fmt::format(
          "{}: missing; give RUN, or all of --trained, --model, --training-set, with --initial where it is known",
          option));
  }
  return load_case(files, control, seed);
}

void add_attack_options(CLI::App& command, std::map<std::string, std::string>& given) {
  std::set<std::string> seen;
  for (const auto& attack : all_attacks()) {
    for (const auto& spec : attack->options()) {
      if (!seen.insert(spec.name).second) continue;
      command
          .add_option_function<std::string>(
              "--" + spec.name, [&given, name = spec.name](const std::string& value) { given[name] = value; },
              fmt::format("{} (default {})", spec.description, spec.fallback))
          ->group(attack->name());
    }
  }
}

}  // namespace afterimage
