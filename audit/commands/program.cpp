#include "audit/commands/program.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <string>

#include "audit/commands/commands.h"
#include "audit/context.h"
#include "audit/progress.h"
#include "models/compute.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/stop.h"
#include "models/foundations/text.h"
#include "models/library_errors.h"

namespace afterimage {
namespace {

std::string quoted(const std::string& word) {
  if (!word.empty() &&
      word.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=.,:/@%") ==
          std::string::npos) {
    return word;
  }
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? "'\\''" : std::string(1, c);
  return text + "'";
}

// The command as typed, but for the output folder: two runs of one command into two folders give one report.
std::string command_line(int argc, char** argv) {
  std::string line = "afterimage";
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.rfind("--out=", 0) == 0) {
      line += " --out report";
    } else if (word == "--out" && i + 1 < argc) {
      line += " --out report";
      ++i;
    } else if (word != "--resume" && word != "--quiet" && word != "--verbose") {
      line += " " + quoted(word);
    }
  }
  return line;
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

int fail(int code, const std::string& message) {
  fmt::print(stderr, "afterimage: {}\n", on_one_line(code == internal ? first_line(message) : message));
  return code;
}

// The fault of a path that was given, unless the machine is at its limits.
int fail_at_path(const FileSystemError& error) {
  const std::string path = error.path().string(), why = error.code().message();
  if (path.empty()) return fail(internal, error.what());
  for (const int limit : {ENOSPC, EDQUOT, EIO, EMFILE, ENFILE, ENOMEM}) {
    if (error.code().value() == limit) return fail(internal, fmt::format("{}: {}", path, why));
  }
  return fail(bad_usage, fmt::format("{}: cannot be used ({}); give another path", path, why));
}

// A result that cannot be written, as on a full disk, shows only when the buffer is flushed.
void require_printed() {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return;
  throw std::runtime_error("stdout: the result cannot be written; make room on its disk, or send it elsewhere");
}

int guarded(const Action& action) {
  try {
    const int code = with_own_errors(action);
    require_printed();
    return code;
  } catch (const UsageError& error) {
    return fail(bad_usage, error.what());
  } catch (const InputError& error) {
    return fail(bad_input, error.what());
  } catch (const Interrupted& error) {
    return fail(interrupted,
                error.kept() ? interrupted_text : "interrupted; nothing was finished, and nothing is kept");
  } catch (const FileSystemError& error) {
    return fail_at_path(error);
  } catch (const std::exception& error) {
    return fail(internal, reason_of(error));
  }
}

// "frobnicate: no such command; " of the first word that the parser does not know; empty where a command was given.
std::string unknown_command(const CLI::App& app) {
  const auto words = app.remaining();
  if (!app.get_subcommands().empty() || words.empty()) return "";
  return fmt::format("{}: no such {}; ", printable(words.front()),
                     words.front().starts_with('-') ? "option" : "command");
}

// Facts and warnings before the work starts; on stderr, without colour.
void describe_compute(const Context& context) {
  if (context.verbose) {
    fmt::print(stderr, "LibTorch {}, {}, {} threads\n", libtorch_version(), blas_in_use(), context.threads);
  }
  if (is_slow_blas() && !context.quiet) {
    fmt::print(stderr,
               "warning: matrix products run on the reference BLAS, some 30 times slower; install libopenblas-dev\n");
  }
}

}  // namespace

int run_program(int argc, char** argv) {
  Context context;
  Action action;
  CLI::App app(
      "Privacy auditor for trained neural networks: reconstructs training images from weights, measures how much a\n"
      "network gives away compared with images that it was not trained on, and fails a CI gate when that is too much.",
      "afterimage");
  add_everything(app, context, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return guarded([&] { return app.exit(help); });
  } catch (const UsageError& error) {
    return fail(bad_usage, error.what());
  } catch (const CLI::ParseError& error) {
    return fail(bad_usage, unknown_command(app) + error.what() + "; see --help");
  }
  if (context.device == "cuda")
    return fail(bad_usage, "--device cuda: this version computes on the cpu only; use --device cpu");
  context.command = command_line(argc, argv);
  context.progress = make_progress(context.quiet);
  catch_interrupts();
  const StopScope scope([&] { context.progress->heed(); });
  return guarded([&] {
    context.threads = set_up_compute(context.threads);
    describe_compute(context);
    return action();
  });
}

}  // namespace afterimage
