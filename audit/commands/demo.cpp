#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>

#include "audit/commands/commands.h"
#include "audit/compare.h"
#include "audit/runner.h"
#include "audit/summary.h"
#include "audit/training_run.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/folder_lock.h"

namespace afterimage {
namespace {

// The audited network compared with one that was trained on distilled images instead.
CompareRequest compared(const TrainRequest& train, bool full, std::int64_t seed, const std::filesystem::path& out) {
  const std::int64_t per_class = full ? 10 : 3;
  CompareRequest request;
  request.spec = spec_from_json({{"schema", "afterimage.compare/1"},
                                 {"data", train.data},
                                 {"task", train.task},
                                 {"samples", train.samples},
                                 {"architecture", train.architecture},
                                 {"audit", {{"attacks", "span,vertices,finite-width"}}},
                                 {"seeds", Json::array({seed})},
                                 {"settings",
                                  {{{"name", "undefended"}, {"defense", "none"}},
                                   {{"name", fmt::format("KIP, {} images a class", per_class)},
                                    {"defense", "kip"},
                                    {"options", {{"per-class", per_class}, {"distillation-steps", 500}}}}}}},
                                "demo");
  request.out = out;
  return request;
}

constexpr const char* marker = ".afterimage-demo";  // holds the demo's size and seed
constexpr std::uint64_t longest_marker = 256;
constexpr std::array<const char*, 4> demo_writes = {marker, "run", "report", "comparison"};

// Whether the folder has a demo's marker, and nothing that a demo does not write.
bool is_of_demo(const std::filesystem::path& folder) {
  if (!std::filesystem::is_regular_file(folder / marker)) return false;
  return std::all_of(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator(),
                     [](const auto& entry) {
                       return std::count(demo_writes.begin(), demo_writes.end(), entry.path().filename()) == 1;
                     });
}

}  // namespace

void add_demo(CLI::App& app, Context& context, Action& action) {
  struct Options {
    std::string out = "out/demo";
    bool full = false, resume = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("demo",
                         "Train a small network on real Fashion-MNIST images, audit it, and compare it with a "
                         "defended one.\n"
                         "  Example: afterimage demo --out out/demo");
  command
      ->add_option("--out", options->out, "new or empty folder (default out/demo; an earlier demo there is replaced)")
      ->type_name("FOLDER");
  command->add_flag("--full", options->full, "the paper's size: 100 images, width 1024");
  command->add_flag("--resume", options->resume, "continue an interrupted demo in the same folder");
  command->callback([options, &context, &action] {
    action = [options, &context] {
      const std::filesystem::path out(options->out);
      const std::string what = fmt::format("{}, seed {}\n", options->full ? "full" : "small", context.seed);
      const bool is_there = is_of_demo(out), goes_on = is_there && options->resume;
      if (goes_on && read_file(out / marker, longest_marker) != what) {
        throw UsageError(fmt::format(
            "--resume: {} holds a demo of another size or seed; give its options, or leave --resume out to replace it",
            options->out));
      }
      const OutputFolder folder(out, is_there);
      // Replaces an earlier demo, and only where the folder holds nothing else.
      if (is_there && !goes_on) {
        for (const char* written : demo_writes) std::filesystem::remove_all(out / written);
      }
      write_file(out / marker, what);
      TrainRequest train;
      train.data = "fashion-mnist";
      train.task = "odd-even";
      train.samples = options->full ? 100 : 20;
      train.architecture = options->full ? "mlp:1024,1024" : "mlp:512,512";
      train.out = out / "run";
      // Training writes this file last.
      if (!std::filesystem::exists(out / "run" / "model.json")) {
        std::filesystem::remove_all(train.out);
        train_run(train, context);
      }

      AuditRequest request;
      request.out = out / "report";
      request.resume = goes_on;
      const AuditInput input = load_audit_input(files_of_run(train.out), {}, context.seed);
      const Report report = run_audit(input, request, context);
      print_summary(report, request.out);
      CompareRequest comparison = compared(train, options->full, context.seed, out / "comparison");
      comparison.resume = goes_on;
      print_comparison(run_comparison(comparison, context), comparison.out);
      return exit_code(report.verdict);
    };
  });
}

}  // namespace afterimage
