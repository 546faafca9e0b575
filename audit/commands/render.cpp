#include <fmt/format.h>

#include <memory>

#include "audit/commands/checks.h"
#include "audit/commands/commands.h"
#include "audit/report_file.h"
#include "models/foundations/files.h"

namespace afterimage {

void add_render(CLI::App& app, Context&, Action& action) {
  struct Options {
    std::string report, out;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("render",
                         "Write the HTML page again from the JSON of a report, a comparison or tasks in turn alone.\n"
                         "  Example: afterimage render report/report.json --out page.html");
  command->add_option("REPORT", options->report, "report.json, comparison.json or tasks.json")
      ->type_name("FILE")
      ->required();
  command->add_option("--out", options->out, "the page")->type_name("FILE")->required();
  command->callback([options, &action] {
    action = [options] {
      require_file_name("--out", options->out);
      write_file(options->out, render_file(options->report));
      fmt::print("{}\n", options->out);
      return static_cast<int>(done);
    };
  });
}

}  // namespace afterimage
