#include "reports/task_sequence.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "models/foundations/error.h"
#include "reports/json_parts.h"
#include "reports/page_parts.h"

namespace afterimage {
namespace {

constexpr std::array<std::pair<const char*, double TaskFigures::*>, 4> columns = {
    {{"accuracy", &TaskFigures::accuracy},
     {"calibration_error", &TaskFigures::calibration_error},
     {"averaged_accuracy", &TaskFigures::averaged_accuracy},
     {"averaged_calibration_error", &TaskFigures::averaged_calibration_error}}};

std::vector<TaskFigures> read_row(const json::Reader& in, std::size_t tasks) {
  std::vector<TaskFigures> row(tasks);
  for (const auto& [name, figure] : columns) {
    const auto values = in[name].list();
    if (values.size() != tasks) in[name].fail(fmt::format("has to have {} numbers, one for each task so far", tasks));
    for (std::size_t s = 0; s < tasks; ++s) row[s].*figure = values[s].fraction();
  }
  return row;
}

}  // namespace

double TaskSequence::mean_after_all(double TaskFigures::*figure) const {
  double sum = 0;
  for (const auto& task : after.back()) sum += task.*figure;
  return sum / static_cast<double>(after.back().size());
}

double TaskSequence::forgetting() const {
  double sum = 0;
  const std::size_t last = tasks.size() - 1;
  for (std::size_t s = 0; s < last; ++s) {
    double best = 0;
    for (std::size_t t = s; t < last; ++t) best = std::max(best, after[t][s].averaged_accuracy);
    sum += best - after[last][s].averaged_accuracy;
  }
  return sum / static_cast<double>(last);
}

Json to_json(const TaskSequence& sequence) {
  Json after = Json::array();
  for (const auto& row : sequence.after) {
    Json entry = Json::object();
    for (const auto& [name, figure] : columns) {
      entry[name] = Json::array();
      for (const auto& task : row) entry[name].push_back(task.*figure);
    }
    after.push_back(std::move(entry));
  }
  return {{"schema", tasks_schema},
          {"tool", json::to_json(sequence.tool)},
          {"data", json::utf8(sequence.source)},
          {"architecture", sequence.architecture},
          {"samples", sequence.samples},
          {"tasks", sequence.tasks},
          {"defense", {{"name", sequence.defense}, {"options", sequence.options}, {"evidence", sequence.evidence}}},
          {"prediction_draws", sequence.prediction_draws},
          {"after", after},
          {"average_accuracy", sequence.mean_after_all(&TaskFigures::accuracy)},
          {"average_calibration_error", sequence.mean_after_all(&TaskFigures::calibration_error)},
          {"averaged_predictions",
           {{"average_accuracy", sequence.mean_after_all(&TaskFigures::averaged_accuracy)},
            {"average_calibration_error", sequence.mean_after_all(&TaskFigures::averaged_calibration_error)},
            {"forgetting", sequence.forgetting()}}}};
}

TaskSequence task_sequence_from_json(const Json& document, const std::string& name) {
  const json::Reader in(document, name);
  if (!document.is_object() || in["schema"].text_or_empty() != tasks_schema) {
    throw InputError(fmt::format("{}: not a sequence of tasks that this version reads; its schema has to be \"{}\"",
                                 name, tasks_schema));
  }
  TaskSequence sequence;
  sequence.tool = json::read_tool(in["tool"]);
  sequence.source = in["data"].text();
  sequence.architecture = in["architecture"].text();
  sequence.samples = in["samples"].whole();
  sequence.tasks = json::read_texts(in["tasks"]);
  sequence.defense = in["defense"]["name"].text();
  sequence.options = in["defense"]["options"].object_or_empty();
  sequence.evidence = in["defense"]["evidence"].object_or_empty();
  sequence.prediction_draws = in["prediction_draws"].whole();
  const auto rows = in["after"].list();
  if (sequence.tasks.size() < 2) in["tasks"].fail("has to name two tasks or more");
  if (rows.size() != sequence.tasks.size()) in["after"].fail("has to have an entry for each of the tasks");
  for (std::size_t t = 0; t < rows.size(); ++t) sequence.after.push_back(read_row(rows[t], t + 1));
  return sequence;
}

namespace {

// Rows after each task, of a cell for each task.
page::data table_of(const TaskSequence& sequence, double TaskFigures::*figure) {
  page::data table{page::data::type::list};
  for (std::size_t t = 0; t < sequence.after.size(); ++t) {
    page::data entry, cells{page::data::type::list};
    entry.set("after", fmt::format("{}. {}", t + 1, sequence.tasks[t]));
    for (std::size_t s = 0; s < sequence.tasks.size(); ++s) {
      page::data cell;
      cell.set("value", s <= t ? page::percent(Number(sequence.after[t][s].*figure)) : "");
      cell.set("task", sequence.tasks[s]);
      cells.push_back(cell);
    }
    entry.set("cells", cells);
    table.push_back(entry);
  }
  return table;
}

}  // namespace

std::string render_html(const TaskSequence& sequence) {
  const auto percent = [&](double TaskFigures::*figure) {
    return page::percent(Number(sequence.mean_after_all(figure)));
  };
  page::data view;
  view.set(
      "plain",
      fmt::format("{} tasks were learned in turn by one network. After the last, {} of held-out images are classified "
                  "rightly in the mean over the tasks, with a calibration error of {}; of mean predictions {} and {}. "
                  "The accuracy of earlier tasks {} by {} in the mean.",
                  sequence.tasks.size(), percent(&TaskFigures::accuracy), percent(&TaskFigures::calibration_error),
                  percent(&TaskFigures::averaged_accuracy), percent(&TaskFigures::averaged_calibration_error),
                  sequence.forgetting() < 0 ? "rose" : "fell", page::percent(Number(std::abs(sequence.forgetting())))));
  view.set("names", page::texts(sequence.tasks));
  view.set("accuracy", table_of(sequence, &TaskFigures::accuracy));
  view.set("calibration", table_of(sequence, &TaskFigures::calibration_error));
  view.set("averaged", table_of(sequence, &TaskFigures::averaged_accuracy));
  view.set("averaged_calibration", table_of(sequence, &TaskFigures::averaged_calibration_error));
  view.set("draws", std::to_string(sequence.prediction_draws));
  std::vector<page::data> facts = {
      page::row("Data", sequence.source), page::row("Training images of each task", std::to_string(sequence.samples)),
      page::row("Architecture", sequence.architecture), page::row("Defence", sequence.defense)};
  for (const auto& [name, value] : sequence.evidence.items()) {
    if (value.is_structured() || value.is_null()) continue;
    facts.push_back(page::row(name, value.is_string() ? value.get<std::string>() : value.dump()));
  }
  facts.push_back(page::row("Seed", std::to_string(sequence.tool.seed)));
  facts.push_back(page::row("Tool", page::tool_text(sequence.tool)));
  view.set("facts", page::rows(facts));
  view.set("command", sequence.tool.command);
  return page::render(view, "tasks in turn", "tasks.html", "tasks.js", to_json(sequence));
}

}  // namespace afterimage
