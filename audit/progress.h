// Progress on stderr: a bar for a terminal, else one plain line a stage; and what Ctrl-C does.
#pragma once

#include <memory>

#include "models/foundations/progress.h"

namespace afterimage {

std::unique_ptr<Progress> make_progress(bool quiet);

// From now on the first Ctrl-C makes the next Progress::step throw Interrupted; a second one ends the program at once.
void catch_interrupts();

}  // namespace afterimage
