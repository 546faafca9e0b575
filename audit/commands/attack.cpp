#include <fmt/format.h>

#include <memory>

#include "audit/commands/commands.h"
#include "audit/commands/subject_options.h"
#include "audit/runner.h"
#include "audit/scored.h"
#include "audit/summary.h"
#include "models/base/error.h"
#include "models/base/files.h"

namespace afterimage {
namespace {

int list_attacks() {
  for (const auto& attack : all_attacks()) {
    fmt::print("{:<14}{}\n{:14}needs: {}\n{:14}not: {}\n", attack->name(), attack->description(), "", attack->needs(),
               "", attack->does_not_apply());
    for (const auto& option : attack->options()) {
      fmt::print("{:14}--{} {}: {}\n", "", option.name, option.fallback, option.description);
    }
  }
  return done;
}

}  // namespace

void add_attack(CLI::App& app, Context& context, Action& action) {
  struct Options {
    std::string name, out;
    SubjectOptions subject;
    std::map<std::string, std::string> given;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("attack",
                                         "Run one attack alone, or list them all.\n"
                                         "  Example: afterimage attack finite-width runs/fashion --out found\n"
                                         "  Example: afterimage attack list");
  command->add_option("NAME", options->name, "the attack, or list")->required();
  options->subject.add_to(*command);
  command->add_option("--out", options->out,
                      "new or empty folder for reconstruction.npz, contact-sheet.png and result.json");
  add_attack_options(*command, options->given);
  command->callback([options, &context, &action] {
    action = [options, &context] {
      if (options->name == "list") return list_attacks();
      const Attack& attack = attack_named(options->name);
      attack.validate(AttackOptions(attack.options(), options->given));
      if (options->out.empty()) throw UsageError("--out: missing; name a new or empty folder");
      const Case subject = options->subject.load(context.seed);
      prepare_output_folder(options->out, false);
      const std::filesystem::path out(options->out);
      const Finding finding = run_attack(attack, subject, {}, options->given, context, out);
      if (std::filesystem::exists(out / (attack.name() + ".npz"))) {
        std::filesystem::rename(out / (attack.name() + ".npz"), out / "reconstruction.npz");
      }
      write_sheet_of(finding, read_claim(out / "reconstruction.npz"), subject.truth, out);
      write_file(out / "result.json", to_json(finding).dump(1) + "\n");
      print_finding(finding);
      return exit_code(ungated_verdict({finding}));
    };
  });
}

}  // namespace afterimage
