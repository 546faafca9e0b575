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

// Throws UsageError where the program would not understand the words.
void require_understood(std::vector<std::string> words, const std::string& what) {
  Context context;
  Action action;
  CLI::App app;
  add_everything(app, context, action);
  std::reverse(words.begin(), words.end());
  try {
    app.parse(words);
  } catch (const CLI::Success& help) {  // they ask for words, and not for a run
    throw UsageError(fmt::format("{}: may not have --{}; leave it out", what,
                                 help.get_name() == "CallForVersion" ? "version" : "help"));
  } catch (const CLI::ParseError& error) {
    throw UsageError(fmt::format("{}: {}", what, error.what()));
  } catch (const UsageError& error) {
    throw UsageError(fmt::format("{}: {}", what, error.what()));
  }
}

// Every network was trained and audited, and at least one audit came to a result.
bool says_something(const DefenseComparison& comparison) {
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
    require_understood(train_words(spec, setting, spec.seeds.front(), "out", 1), file + ": train");
  }
  require_understood(audit_words(spec, spec.seeds.front(), "out", 1), file + ": audit");
}

}  // namespace

void add_compare(CLI::App& app, Context& context, Action& action) {
  struct Options {
    std::string spec, out;
    CompareRequest request;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("compare",
                                         "Train and audit a network under several defence settings, and say what each "
                                         "costs and stops.\n"
                                         "  Example: afterimage compare spec.json --out comparison");
  command->add_option("SPEC", options->spec, "JSON: data, task, samples, architecture, settings, seeds; see README.md")
      ->type_name("FILE")
      ->required();
  command->add_option("--out", options->out, "new or empty folder")->type_name("FOLDER")->required();
  command
      ->add_option("--jobs", options->request.jobs, "networks at once, as memory allows (default: as many as threads)")
      ->type_name("INTEGER")
      ->check(integer_from(1, 1024));
  command->add_flag("--resume", options->request.resume,
                    "go on where an interrupted comparison of the same spec stopped");
  command->callback([options, &context, &action] {
    action = [options, &context] {
      CompareRequest& request = options->request;
      request.spec = read_spec(options->spec);
      require_commands(request.spec, options->spec);
      request.out = options->out;
      const DefenseComparison comparison = run_comparison(request, context);
      print_comparison(comparison, request.out);
      return static_cast<int>(says_something(comparison) ? done : inconclusive);
    };
  });
}

}  // namespace afterimage
