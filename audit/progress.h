// Progress on stderr: a bar in a terminal, otherwise one line for each stage; and the handling of Ctrl-C.
#pragma once

#include <memory>

#include "models/foundations/progress.h"

namespace afterimage {

std::unique_ptr<Progress> make_progress(bool quiet);

inline constexpr const char* interrupted_text =
    "interrupted; what is finished is kept, and the same command with --resume goes on from there";

// From now on the first Ctrl-C or SIGTERM makes the next Progress::step throw Interrupted. Where none comes within 1.5
// s the program ends with exit code 130. A second Ctrl-C ends it at once.
void catch_interrupts();

}  // namespace afterimage
