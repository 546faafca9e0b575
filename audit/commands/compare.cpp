#include "audit/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "audit/commands/checks.h"
#include "audit/commands/commands.h"
#include "audit/summary.h"
#include "models/foundations/error.h"

namespace afterimage {

namespace {

// Throws UsageError where the words are no valid command line.
void require_valid(std::vector<std::string> words, const std::string& what) {
  Context context;
  Action action;
  CLI::App app;
  add_everything(app, context, action);
  std::reverse(words.begin(), words.end());
  try {
    app.parse(words);
  } catch (const CLI::Success& help) {  // --help or --version
    throw UsageError(fmt::format("{}: may not have --{}; leave it out", what,
                                 help.get_name() == "CallForVersion" ? "version" : "help"));
  } catch (const CLI::ParseError& error) {
    throw UsageError(fmt::format("{}: {}", what, error.what()));
  } catch (const UsageError& error) {
    throw UsageError(fmt::format("{}: {}", what, error.what()));
  }
}

// Whether every network was trained and audited, and at least one audit has a result.
bool has_result(const DefenseComparison& comparison) {
  bool ok = false, failed = false;
  for (const auto& setting : comparison.settings) {
    for (const auto& run : setting.runs) {
      ok = ok || run.status == Status::ok;
      failed = failed || run.status == Status::failed;
    }
  }
  return ok && !failed;
}

void require_commands(const CompareSpec& spec, const std::string& file) {
  for (const auto& setting : spec.settings) {
    require_valid(train_words(spec, setting, spec.seeds.front(), "out", 1), file + ": train");
  }
  require_valid(audit_words(spec, spec.seeds.front(), "out", 1), file + ": audit");
}

}  // namespace

void add_compare(CLI::App& app, Context& context, Action& action) {
  struct Options {
    std::string spec, out;
    CompareRequest request;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("compare",
                         "Train and audit a network under several defence settings: what does each cost, "
                         "and what does it stop?\n"
                         "  Example: afterimage compare spec.json --out comparison");
  command
      ->add_option("SPEC", options->spec,
                   "JSON: data, task, samples, architecture, settings, seeds; see docs/formats.md")
      ->type_name("FILE")
      ->required();
  command->add_option("--out", options->out, "new or empty folder")->type_name("FOLDER")->required();
  command
      ->add_option("--jobs", options->request.jobs, "networks at once, as memory allows (default: number of threads)")
      ->type_name("INTEGER")
      ->check(integer_from(1, 1024));
  command->add_flag("--resume", options->request.resume, "continue an interrupted comparison of the same spec");
  command->callback([options, &context, &action] {
    action = [options, &context] {
      CompareRequest& request = options->request;
      request.spec = read_spec(options->spec);
      require_commands(request.spec, options->spec);
      request.out = options->out;
      const DefenseComparison comparison = run_comparison(request, context);
      print_comparison(comparison, request.out);
      return static_cast<int>(has_result(comparison) ? done : inconclusive);
    };
  });
}

}  // namespace afterimage
