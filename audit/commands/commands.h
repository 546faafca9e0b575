// The commands of the program, a file each. Each adds itself to the parser; when it is the one that was typed, its
// action is stored and main runs it. An action returns the exit code.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "audit/context.h"

namespace afterimage {

using Action = std::function<int()>;

// The global options and all commands.
void add_everything(CLI::App& app, Context& context, Action& action);

void add_demo(CLI::App& app, Context& context, Action& action);
void add_train(CLI::App& app, Context& context, Action& action);
void add_audit(CLI::App& app, Context& context, Action& action);
void add_distill(CLI::App& app, Context& context, Action& action);
void add_compare(CLI::App& app, Context& context, Action& action);
void add_attack(CLI::App& app, Context& context, Action& action);
void add_deviation(CLI::App& app, Context& context, Action& action);
void add_gate(CLI::App& app, Context& context, Action& action);
void add_inspect(CLI::App& app, Context& context, Action& action);
void add_render(CLI::App& app, Context& context, Action& action);
void add_verify(CLI::App& app, Context& context, Action& action);

}  // namespace afterimage
