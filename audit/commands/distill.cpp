#include <fmt/format.h>

#include <map>
#include <memory>

#include "audit/commands/checks.h"
#include "audit/commands/commands.h"
#include "audit/commands/subject_options.h"
#include "audit/defense_options.h"
#include "audit/defense_state.h"
#include "audit/support_set.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/mlp.h"

namespace afterimage {
namespace {

struct DistillRequest {
  std::string method, data, task, architecture = "mlp:1024,1024", parameterization = "standard", out;
  std::int64_t samples = 0;
  InputRequest inputs;
  std::map<std::string, std::string> options;  // of the method, as typed
  bool resume = false;
};

// Under their own names. `train` and `compare` measure the test accuracy of networks that are trained on the result.
void add_method_options(CLI::App& command, std::map<std::string, std::string>& given) {
  for (const auto& defense : all_defenses()) {
    if (defense.distills) add_declared(command, defense.options, defense.name, given);
  }
}

int distill(const DistillRequest& request, const Context& context) {
  if (!defense_named(request.method).distills) {
    throw UsageError(fmt::format("METHOD {}: makes no data but acts on training or on the weights; see attack list",
                                 request.method));
  }
  const ConfiguredDefense method = choose_defense(request.method, request.options, "--").configured;
  const std::filesystem::path out(request.out);
  if (!out.has_filename()) throw UsageError(fmt::format("--out {}: is a folder; name a new file in it", request.out));
  if (is_taken("--out", out)) {
    throw UsageError(fmt::format("--out {}: exists already; name a new file", request.out));
  }
  context.progress->stage(fmt::format("distill: reading {}", request.data));
  const DrawnData data =
      draw_data(request.data, Task::parse(request.task), request.samples, request.inputs, context.seed);
  const std::shared_ptr<const Network> network =
      make_network(request.architecture, request.parameterization, data.training.images.size(1), data.targets.size(1));
  Generator random = seeded(stage_seed(context.seed, "initial weights"));
  const Undefended undefended = undefended_of(data, network, network->draw_initial(random).value(), {});
  if (out.has_parent_path()) prepare_output_folder(out.parent_path(), true);
  DefenseState state(out, fingerprint_of(undefended, request.architecture, request.method, request.options, context),
                     request.resume);
  const SupportSet support = state.run([&](StateStore& store) {
    Job job{random, *context.progress, store};
    return method.distill(undefended, job);
  });
  write_support_set(out, support, data);
  state.clear();
  fmt::print("{}: {} images of {}\n", request.method, support.images.size(0), request.samples);
  for (const auto& [name, value] : support.evidence.items()) fmt::print("  {} {}\n", name, value.dump());
  fmt::print("{}\n", request.out);
  return done;
}

}  // namespace

void add_distill(CLI::App& app, Context& context, Action& action) {
  auto request = std::make_shared<DistillRequest>();
  CLI::App* command = app.add_subcommand("distill",
                                         "Make a few images to train on in place of the training images.\n"
                                         "  Example: afterimage distill kip --data fashion-mnist --task odd-even "
                                         "--samples 100 --per-class 10 --out kip.npz");
  command->add_option("METHOD", request->method, "a defence that makes data; see attack list")
      ->type_name("NAME")
      ->required();
  command->add_option("--data", request->data, data_kinds)->type_name("DATA")->required();
  command->add_option("--task", request->task, "odd-even, classes:A,B, groups:A,B|C,D or multiclass")
      ->type_name("TASK")
      ->required();
  command->add_option("--samples", request->samples, "number of training images to distil")
      ->type_name("INTEGER")
      ->check(positive_integer())
      ->required();
  command
      ->add_option("--architecture", request->architecture,
                   "mlp:WIDTH,WIDTH,... of the network to be trained on them (default mlp:1024,1024)")
      ->type_name("ARCH");
  command->add_option("--parameterization", request->parameterization, "standard or ntk (default standard)")
      ->type_name("standard|ntk");
  add_input_options(*command, request->inputs);
  command->add_option("--out", request->out, "new .npz file, which --data npz:FILE takes")
      ->type_name("FILE")
      ->required();
  command->add_flag("--resume", request->resume, "continue an interrupted run with the same options and --out");
  add_method_options(*command, request->options);
  command->callback(
      [request, &context, &action] { action = [request, &context] { return distill(*request, context); }; });
}

}  // namespace afterimage
