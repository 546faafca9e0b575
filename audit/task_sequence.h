// Learning tasks one after another: `train --tasks`.
#pragma once

#include <string>
#include <vector>

#include "audit/training_run.h"

namespace afterimage {

// "0,1/2,3" as the tasks "classes:0,1" and "classes:2,3". Throws UsageError: fewer than two tasks, other than two
// classes in one, a class in two.
std::vector<std::string> parse_tasks(const std::string& text);

// Learns the tasks of the request in turn by its defence, which has to be gvcl. Writes a run directory for every
// network that is released, after each task for each of the tasks so far, as OUT/after-2/task-1, whose weights before
// training are those of just before task 1; and OUT/tasks.json and its page, accuracies and calibration. Throws as
// train_run() does.
void train_sequence(const TrainRequest& request, const Context& context);

}  // namespace afterimage
