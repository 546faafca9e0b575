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
                                         "Measure how far training strayed from the neural tangent kernel.\n"
                                         "  Example: afterimage deviation runs/fashion --out deviation");
  options->subject.add_to(*command);
  command
      ->add_option("--out", options->out,
                   "new or empty folder for deviation.json; without it the figures are printed only")
      ->type_name("FOLDER");
  command->callback([options, &context, &action] {
    action = [options, &context] {
      Case subject = options->subject.load(context.seed);
      if (!options->out.empty()) prepare_output_folder(options->out, false);
      context.progress->stage("deviation from the tangent kernel");
      Report report = subject.facts;
      report.deviation = deviation_of(subject);
      if (!options->out.empty()) {
        write_file(std::filesystem::path(options->out) / "deviation.json", to_json(report)["deviation"].dump(1) + "\n");
      }
      print_deviation(report.deviation);
      return static_cast<int>(done);
    };
  });
}

}  // namespace afterimage
