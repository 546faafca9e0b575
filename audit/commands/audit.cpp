#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <sstream>

#include "audit/commands/checks.h"
#include "audit/commands/commands.h"
#include "audit/commands/subject_options.h"
#include "audit/forecast.h"
#include "audit/runner.h"
#include "audit/summary.h"

namespace afterimage {
namespace {

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> items;
  std::istringstream in(list);
  for (std::string item; std::getline(in, item, ',');) items.push_back(item);
  return items;
}

int print_forecast(const std::vector<Forecast>& forecasts) {
  double seconds = 0, bytes = 0;
  const auto line = [](const std::string& name, double time, double memory) {
    fmt::print("{:<20}{:>8.1f} s {:>12}\n", name, time, bytes_text(memory));
  };
  for (const auto& forecast : forecasts) {
    line(forecast.attack, forecast.seconds, forecast.bytes);
    seconds += forecast.seconds;
    bytes = std::max(bytes, forecast.bytes);
  }
  line("all, about", seconds, bytes);
  fmt::print("Where an attack finds all images, those after it are skipped.\n");
  return done;
}

}  // namespace

void add_audit(CLI::App& app, Context& context, Action& action) {
  struct Options {
    SubjectOptions subject;
    AuditRequest request;
    std::string attacks, policy, out, memory_limit;
    bool dry_run = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "audit",
      "Attack a trained network and report how much of its training data it leaks.\n"
      "  Example: afterimage audit runs/fashion --attacks span,finite-width --policy policy.json --out report");
  options->subject.add_to(*command);
  command->add_option("--out", options->out, "new or empty folder for the report")->type_name("FOLDER")->required();
  command->add_option("--attacks", options->attacks, "names separated by commas (default: all)")->type_name("NAME,...");
  command->add_option("--policy", options->policy, "policy that decides the verdict and the exit code")
      ->type_name("FILE");
  command->add_flag("--resume", options->request.resume, "continue an interrupted audit of the same inputs");
  command
      ->add_option("--time-limit", options->request.time_limit,
                   "seconds for all attacks together; those not done by then are inconclusive (default: none)")
      ->type_name("NUMBER")
      ->check(positive_number());
  command
      ->add_option("--memory-limit", options->memory_limit,
                   "as in 4GiB; attacks that need more are not started, and inconclusive (default: none)")
      ->type_name("SIZE");
  command
      ->add_option("--delta", options->request.delta,
                   "delta of the lower bounds on epsilon, above 0 and below 1 (default: 1e-5)")
      ->type_name("NUMBER")
      ->check(number_between(0, 1));
  command->add_flag("--dry-run", options->dry_run,
                    "print the time and memory that each attack needs, and write nothing");
  add_attack_options(*command, options->request.options);
  command->callback([options, &context, &action] {
    options->request.attacks = split(options->attacks);
    // Wrong options are refused before anything is read.
    std::vector<std::string> names;
    for (const auto& chosen : attacks_of(options->request)) names.push_back(chosen.attack.name);
    require_used(options->request.options, names);
    options->subject.validate();
    if (!options->memory_limit.empty()) {
      options->request.memory_limit = parse_bytes("--memory-limit", options->memory_limit);
    }
    action = [options, &context] {
      AuditRequest& request = options->request;
      request.out = options->out;
      if (!options->policy.empty()) request.policy = read_policy_file(options->policy);
      AuditInput input = options->subject.load(context.seed);
      if (options->dry_run) return print_forecast(forecast(input, request, context));
      const Report report = run_audit(input, request, context);
      print_summary(report, options->out);
      return exit_code(report.verdict);
    };
  });
}

}  // namespace afterimage
