// Tasks that one network learned in turn: what `train --tasks` writes as tasks.json, and its page.
#pragma once

#include <string>
#include <vector>

#include "reports/report.h"

namespace afterimage {

inline constexpr const char* tasks_schema = "afterimage.tasks/1";

// Of one task on its held-out images, after some task was learned: of the released network, and of the mean prediction
// of several that are drawn from the distribution of the weights.
struct TaskFigures {
  double accuracy = 0, calibration_error = 0;
  double averaged_accuracy = 0, averaged_calibration_error = 0;
};

struct TaskSequence {
  Tool tool;
  std::string source, architecture;
  std::int64_t samples = 0;        // training images of each task
  std::vector<std::string> tasks;  // in the order in which they were learned
  std::string defense;
  Json options = Json::object(), evidence = Json::object();  // the evidence is the last task's after the last
  std::int64_t prediction_draws = 1;
  std::vector<std::vector<TaskFigures>> after;  // [t][s], s at most t: of task s after task t

  // Over all tasks after the last.
  double mean_after_all(double TaskFigures::*figure) const;
  // Of averaged predictions: the mean over all tasks but the last of how much lower the accuracy is in the end than it
  // was once.
  double forgetting() const;
};

Json to_json(const TaskSequence& sequence);
// Throws InputError that names the file and the field.
TaskSequence task_sequence_from_json(const Json& document, const std::string& name);
std::string render_html(const TaskSequence& sequence);

}  // namespace afterimage
