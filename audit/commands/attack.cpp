#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>

#include "audit/commands/checks.h"
#include "audit/commands/commands.h"
#include "audit/commands/subject_options.h"
#include "audit/interrupted.h"
#include "audit/runner.h"
#include "audit/scored.h"
#include "audit/summary.h"
#include "defenses/defense.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/folder_lock.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

int list_attacks() {
  for (const auto& attack : all_attacks()) {
    fmt::print("{:<19}{}\n{:19}needs: {}\n{:19}not: {}\n", attack.name, attack.description, "", attack.needs, "",
               attack.does_not_apply);
    for (const auto& option : attack.options) {
      fmt::print("{:16}--{} {}: {}\n", "", option.name, option.fallback, option.description);
    }
  }
  fmt::print(
      "\ndefences (train --defense NAME --defense-option OPTION=VALUE, compare; those with * also distill NAME)\n");
  for (const auto& defense : all_defenses()) {
    fmt::print("{:<19}{}{}\n{:19}limits: {}\n", defense.name, defense.distills ? "* " : "", defense.description, "",
               defense.limits);
    for (const auto& option : defense.options) {
      fmt::print("{:16}{} {}: {}\n", "", option.name, option.fallback, option.description);
    }
  }
  return done;
}

struct Options {
  std::string name, out;
  SubjectOptions subject;
  InfiniteRequest infinite;
  std::map<std::string, std::string> given;
  bool resume = false;
};

constexpr const char* infinite_group = "in place of RUN: a network of infinite width, which has no weights to load";

void add_infinite_options(CLI::App& command, InfiniteRequest& request) {
  const std::string group = infinite_group;
  command.add_option("--data", request.data, "DATA that it is trained on; see train --help")
      ->type_name("DATA")
      ->group(group);
  command.add_option("--samples", request.samples, "number of training images")
      ->type_name("INTEGER")
      ->check(positive_integer())
      ->group(group);
  add_input_options(command, request.inputs, group);
  command.add_option("--depth", request.depth, "hidden layers (default 2)")
      ->type_name("INTEGER")
      ->check(integer_from(1, 31))
      ->group(group);
  command.add_option("--weight-variance", request.weight_variance, "of the initial weights, times fan-in (default 2)")
      ->type_name("NUMBER")
      ->check(positive_number())
      ->group(group);
  command.add_option("--bias-variance", request.bias_variance, "of the initial biases (default 0.1)")
      ->type_name("NUMBER")
      ->check(nonnegative_number())
      ->group(group);
}

// The network is a trained one or one of infinite width. Throws UsageError on an option of one kind given with the
// other, where it has no effect.
void require_one_subject(const CLI::App& command, bool infinite) {
  constexpr std::array<const char*, 5> of_both = {"NAME", "--task", "--control-samples", "--out", "--resume"};
  for (const CLI::Option* option : command.get_options([](const CLI::Option* o) { return o->count() > 0; })) {
    const std::string name = option->get_name();
    if (!infinite && option->get_group() == infinite_group) {
      throw UsageError(name + ": is an option of a network of infinite width, which takes --data; leave it out");
    }
    if (infinite && option->get_group() == "Options" && std::count(of_both.begin(), of_both.end(), name) == 0) {
      throw UsageError(name + ": excludes --data, which stands for a network of infinite width; leave one of them out");
    }
  }
}

constexpr std::array<const char*, 3> results = {"reconstruction.npz", "contact-sheet.png", "result.json"};

// Throws UsageError where the folder holds anything but what this attack left, or results that it replaces.
void take_over(const std::filesystem::path& out, const Attack& attack) {
  const Leftovers leftovers(out);
  const std::filesystem::path state = leftovers.state_file(attack.name).filename(), claim = attack.name + ".npz";
  for (const auto& entry : std::filesystem::directory_iterator(out)) {
    const auto name = entry.path().filename();
    const bool own = name == state || name == claim || is_half_written(entry.path()) ||
                     std::count(results.begin(), results.end(), name) == 1;
    if (!own) {
      throw UsageError(
          fmt::format("--out {}: holds {}, which an interrupted {} does not leave; give a new or empty folder",
                      out.string(), printable(name.string()), attack.name));
    }
  }
  leftovers.clear_half_written();
  for (const char* result : results) std::filesystem::remove(out / result);
}

// Runs the attack and writes its files.
Finding attack_into(const std::filesystem::path& out, const ChosenAttack& chosen, const AuditInput& input,
                    const Options& options, const Context& context) {
  const OutputFolder folder(out, options.resume, longest_step);
  const Attack& attack = chosen.attack;
  take_over(out, attack);
  const Leftovers leftovers(out);
  const auto fingerprint = fingerprint_of(fingerprint_of(input), {}, attack.name, options.given, context);
  FileStateStore store(leftovers.state_file(attack.name), fingerprint, options.resume);
  Finding finding = run_attack(chosen, input, {}, context, out, store);
  leftovers.clear();
  if (std::filesystem::exists(out / (attack.name + ".npz"))) {
    std::filesystem::rename(out / (attack.name + ".npz"), out / "reconstruction.npz");
  }
  write_sheet_of(finding, read_claim(out / "reconstruction.npz"), input.truth, out);
  return finding;
}

// For a network of infinite width the true dual coefficients are known, and compared with the claimed ones.
Finding attack_infinite(const ChosenAttack& chosen, const Options& options, const Context& context) {
  if (!chosen.attack.works_without_weights) {
    throw UsageError("--data: " + chosen.attack.name + " attacks weights; give RUN, or use infinite-width");
  }
  InfiniteRequest request = options.infinite;
  request.task = options.subject.files.task;
  if (request.task.empty()) throw UsageError("--task: missing; name the task of the network, as in odd-even");
  const InfiniteInput drawn = infinite_input(request, options.subject.control.count, context.seed);
  Finding finding = attack_into(options.out, chosen, drawn.audit, options, context);
  finding.evidence["dual_coefficients"] = compare_coefficients(
      read_claim(std::filesystem::path(options.out) / "reconstruction.npz"), drawn.audit.truth, drawn.coefficients);
  return finding;
}

}  // namespace

void add_attack(CLI::App& app, Context& context, Action& action) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("attack",
                                         "Run one attack alone, or list them all.\n"
                                         "  Example: afterimage attack finite-width runs/fashion --out found\n"
                                         "  Example: afterimage attack infinite-width --data fashion-mnist --task "
                                         "odd-even --samples 20 --out found\n"
                                         "  Example: afterimage attack list");
  command->add_option("NAME", options->name, "the attack, or list")->type_name("")->required();
  options->subject.add_to(*command);
  add_infinite_options(*command, options->infinite);
  command
      ->add_option("--out", options->out,
                   "new or empty folder for reconstruction.npz, contact-sheet.png and result.json")
      ->type_name("FOLDER");
  command->add_flag("--resume", options->resume, "continue an interrupted attack on the same inputs");
  add_attack_options(*command, options->given);
  command->callback([options, command, &context, &action] {
    if (options->name != "list") require_one_subject(*command, !options->infinite.data.empty());
    action = [options, &context] {
      if (options->name == "list") return list_attacks();
      const Attack& attack = attack_named(options->name);
      require_used(options->given, {attack.name});
      const ChosenAttack chosen(attack, options->given);
      if (options->out.empty()) throw UsageError("--out: missing; name a new or empty folder");
      DataFacts data;
      const Finding finding = [&] {
        if (!options->infinite.data.empty()) return attack_infinite(chosen, *options, context);
        const AuditInput input = options->subject.load(context.seed);
        data = input.facts.data;
        return attack_into(options->out, chosen, input, *options, context);
      }();
      write_file(std::filesystem::path(options->out) / "result.json", to_json(finding).dump(1) + "\n");
      print_finding(finding, data);
      return exit_code(ungated_verdict({finding}));
    };
  });
}

}  // namespace afterimage
