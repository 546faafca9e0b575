#include "reports/task_sequence.h"

#include <catch2/catch.hpp>
#include <functional>

#include "models/foundations/error.h"

namespace afterimage {
namespace {

TaskSequence three_tasks() {
  TaskSequence sequence;
  sequence.tool.version = "0.0.0";
  sequence.source = "fashion-mnist";
  sequence.architecture = "mlp:8";
  sequence.samples = 20;
  sequence.tasks = {"classes:0,1", "classes:2,3", "classes:4,5"};
  sequence.defense = "gvcl";
  sequence.prediction_draws = 20;
  sequence.after = {{{0.9, 0.1, 0.8, 0.2}},
                    {{0.8, 0.1, 0.85, 0.2}, {0.7, 0.3, 0.75, 0.1}},
                    {{0.6, 0.2, 0.65, 0.1}, {0.7, 0.3, 0.8, 0.2}, {0.5, 0.1, 0.5, 0.3}}};
  return sequence;
}

}  // namespace

TEST_CASE("means and forgetting of tasks in turn are those of their definitions, and survive the file") {
  const TaskSequence sequence = three_tasks();
  CHECK(sequence.mean_after_all(&TaskFigures::accuracy) == Approx(0.6));
  CHECK(sequence.mean_after_all(&TaskFigures::averaged_calibration_error) == Approx(0.2));
  CHECK(sequence.forgetting() == Approx(((0.85 - 0.65) + (0.75 - 0.8)) / 2));
  const Json document = to_json(sequence);
  CHECK(document["averaged_predictions"]["forgetting"].get<double>() == Approx(0.075));
  CHECK(to_json(task_sequence_from_json(document, "tasks.json")) == document);
}

TEST_CASE("a file of tasks with a row too few, a number outside its range or another schema is refused by name") {
  const Json good = to_json(three_tasks());
  for (const auto& [spoil, why] : std::vector<std::pair<std::function<void(Json&)>, std::string>>{
           {[](Json& d) { d["after"].erase(1); }, "after has to have an entry for each"},
           {[](Json& d) { d["after"][1]["accuracy"].push_back(0.5); }, "after[1].accuracy has to have 2 numbers"},
           {[](Json& d) { d["after"][0]["accuracy"][0] = 1.5; }, "after[0].accuracy"},
           {[](Json& d) { d["tasks"] = {"one"}; }, "tasks has to name two"},
           {[](Json& d) { d["schema"] = "afterimage.tasks/2"; }, "its schema has to be"}}) {
    Json document = good;
    spoil(document);
    CHECK_THROWS_WITH(task_sequence_from_json(document, "t.json"),
                      Catch::StartsWith("t.json: ") && Catch::Contains(why));
  }
}

}  // namespace afterimage
