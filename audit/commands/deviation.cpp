#include <fmt/format.h>

#include <memory>

#include "audit/commands/commands.h"
#include "audit/commands/subject_options.h"
#include "audit/runner.h"
#include "audit/summary.h"
#include "models/foundations/files.h"

namespace afterimage {

void add_deviation(CLI::App& app, Context& context, Action& action) {
  struct Options {
    SubjectOptions subject;
    std::string out;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("deviation",
                                         "Measure the deviation of training from the neural tangent kernel.\n"
                                         "  Example: afterimage deviation runs/fashion --out deviation");
  options->subject.add_to(*command);
  command->add_option("--out", options->out, "new or empty folder for deviation.json (default: print only)")
      ->type_name("FOLDER");
  command->callback([options, &context, &action] {
    action = [options, &context] {
      AuditInput input = options->subject.load(context.seed);
      if (!options->out.empty()) prepare_output_folder(options->out, false);
      context.progress->stage("deviation from the tangent kernel");
      Report report = input.facts;
      report.deviation = deviation_of(input);
      if (!options->out.empty()) {
        write_file(std::filesystem::path(options->out) / "deviation.json", to_json(report)["deviation"].dump(1) + "\n");
      }
      print_deviation(report.deviation);
      return static_cast<int>(done);
    };
  });
}

}  // namespace afterimage
