// Progress on stderr: a bar in a terminal, otherwise one line for each stage; and the handling of Ctrl-C.
#pragma once

#include <memory>

#include "models/foundations/progress.h"

namespace afterimage {

std::unique_ptr<Progress> make_progress(bool quiet);

// From now on the first Ctrl-C makes the next Progress::step throw Interrupted; a second one ends the program at once.
void catch_interrupts();

}  // namespace afterimage
