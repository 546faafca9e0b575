#include "audit/commands/checks.h"
#include "audit/commands/commands.h"

namespace afterimage {

void add_everything(CLI::App& app, Context& context, Action& action) {
  app.set_version_flag("--version", std::string("afterimage ") + context.tool().version);
  app.add_option("--threads", context.threads, "threads (default: all cores)")
      ->type_name("INTEGER")
      ->check(integer_from(1, 1024));
  app.add_option("--seed", context.seed, "seed of all random numbers (default 0)")
      ->type_name("INTEGER")
      ->check(integer_from(0, std::int64_t{1} << 53));
  app.add_option("--device", context.device, "cpu or cuda (default cpu)")
      ->type_name("cpu|cuda")
      ->check(CLI::IsMember({"cpu", "cuda"}).description(""));
  app.add_flag("--quiet", context.quiet, "no progress and no warnings");
  app.add_flag("--verbose", context.verbose, "print more about what is used and done");
  app.require_subcommand(1);
  app.fallthrough();
  for (const auto add : {add_demo, add_train, add_audit, add_attack, add_distill, add_compare, add_deviation, add_gate,
                         add_inspect, add_render, add_verify}) {
    add(app, context, action);
  }
}

}  // namespace afterimage
