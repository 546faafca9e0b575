#include "audit/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "audit/commands/checks.h"
#include "audit/commands/commands.h"
#include "audit/progress.h"
#include "audit/summary.h"
#include "models/foundations/error.h"
#include "models/foundations/text.h"

namespace afterimage {

namespace {

// A command line as the program would read it.
class ReadCommand {
 public:
  // Throws UsageError that begins with `what` where the words are no valid command line.
  ReadCommand(std::vector<std::string> words, std::string what) : what_(std::move(what)) {
    add_everything(app_, context_, action_);
    context_.progress = make_progress(true);
    std::reverse(words.begin(), words.end());
    named([&] {
      try {
        app_.parse(words);
      } catch (const CLI::Success& help) {  // --help or --version
        throw UsageError(
            fmt::format("may not have --{}; leave it out", help.get_name() == "CallForVersion" ? "version" : "help"));
      } catch (const CLI::ParseError& error) {
        throw UsageError(error.what());
      }
    });
  }

  // Throws UsageError and InputError as the command does.
  void run() { named(action_); }

 private:
  template <class Work>
  void named(const Work& work) const {
    try {
      static_cast<void>(work());
    } catch (const UsageError& error) {
      throw UsageError(fmt::format("{}: {}", what_, error.what()));
    } catch (const InputError& error) {
      throw InputError(fmt::format("{}: {}", what_, error.what()));
    }
  }

  std::string what_;
  Context context_;
  Action action_;
  CLI::App app_;
};

std::string train_of(const ComparedSetting& setting, const std::string& file) {
  return fmt::format("{}: train of \"{}\"", file, printable(setting.name));
}

// Throws UsageError on keys of `options` that are no options of `command`, and on values that they do not take.
void require_options(const Json& options, const std::string& command, const std::string& what) {
  Context context;
  Action action;
  CLI::App app;
  add_everything(app, context, action);
  for (const auto& [key, value] : options.items()) {
    const CLI::App* owner = app.get_subcommand(command);
    const CLI::Option* option = key.empty() ? nullptr : owner->get_option_no_throw("--" + key);
    if (option == nullptr && !key.empty()) option = app.get_option_no_throw("--" + key);
    const auto fail = [&, name = key](const std::string& why) {
      throw UsageError(fmt::format("{}: \"{}\": {}", what, printable(name), why));
    };
    if (option == nullptr) fail(fmt::format("no option of {}; see afterimage {} --help", command, command));
    const bool flag = option->get_items_expected_max() == 0;
    if (value.is_null() || value.is_boolean() == flag) continue;
    fail(flag ? "has to be true or false" : fmt::format("has to have a value, not {}", value.dump()));
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
  const Json none = Json::object();
  const auto part = [&](const char* key) { return spec.document.contains(key) ? spec.document[key] : none; };
  require_options(part("train"), "train", file + ": train");
  require_options(part("audit"), "audit", file + ": audit");
  const ReadCommand audit(audit_words(spec, spec.seeds.front(), "out", 1), file + ": audit");
  for (const auto& setting : spec.settings) {
    require_options(setting.own_train, "train", train_of(setting, file));
    const ReadCommand train(train_words(spec, setting, spec.seeds.front(), "out", 1), train_of(setting, file));
  }
}

// Throws UsageError or InputError on what `train` refuses once it has read the data. `folder` is one that is not there:
// nothing is written.
void require_trainable(const CompareSpec& spec, const ComparedSetting& setting, const std::string& file,
                       const std::filesystem::path& folder, int threads) {
  auto words = train_words(spec, setting, spec.seeds.front(), folder, threads);
  words.emplace_back("--dry-run");
  ReadCommand(words, train_of(setting, file)).run();
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
      request.check = [&request, &context, file = options->spec](std::size_t setting) {
        require_trainable(request.spec, request.spec.settings[setting], file, request.out / "unwritten",
                          context.threads);
      };
      const DefenseComparison comparison = run_comparison(request, context);
      print_comparison(comparison, request.out);
      return static_cast<int>(has_result(comparison) ? done : inconclusive);
    };
  });
}

}  // namespace afterimage
