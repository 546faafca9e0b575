#include "audit/gate.h"

#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "audit/commands/checks.h"
#include "audit/commands/commands.h"
#include "audit/report_file.h"
#include "models/foundations/files.h"
#include "models/foundations/text.h"
#include "reports/junit.h"
#include "reports/sarif.h"

namespace afterimage {

void add_gate(CLI::App& app, Context&, Action& action) {
  struct Options {
    std::string report, policy, sarif, junit;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("gate",
                                         "Apply a policy to an existing report, for CI.\n"
                                         "  Example: afterimage gate report/report.json --policy policy.json --junit "
                                         "gate.xml");
  command->add_option("REPORT", options->report, "report.json")->type_name("FILE")->required();
  command->add_option("--policy", options->policy, "policy.json")->type_name("FILE")->required();
  command->add_option("--sarif", options->sarif, "also write SARIF 2.1.0, one result for each rule that did not pass")
      ->type_name("FILE");
  command->add_option("--junit", options->junit, "also write JUnit XML, one test case for each rule")
      ->type_name("FILE");
  command->callback([options, &action] {
    action = [options] {
      // Both are checked before either is written: a refused command leaves nothing.
      for (const auto& [option, file] : {std::pair{"--sarif", options->sarif}, {"--junit", options->junit}}) {
        if (!file.empty()) require_file_name(option, file);
      }
      const Policy policy = read_policy_file(options->policy);
      Report report = read_report(options->report);
      report.gate = apply(policy, report);
      report.verdict = verdict_of(policy, *report.gate);
      if (!options->sarif.empty()) {
        const Json sarif = to_sarif(report, options->policy, std::filesystem::current_path());
        write_file(options->sarif, sarif.dump(1) + "\n");
      }
      if (!options->junit.empty()) write_file(options->junit, to_junit(report));
      for (const auto& rule : report.gate->rules)
        fmt::print("{}: {} ({})\n", rule.rule, name_of(rule.outcome), on_one_line(rule.reason));
      fmt::print("verdict: {}\n", name_of(report.verdict));
      return exit_code(report.verdict);
    };
  });
}

}  // namespace afterimage
