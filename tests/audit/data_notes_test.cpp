#include <algorithm>
#include <catch2/catch.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/audit/program.h"

namespace afterimage::test {
namespace {

constexpr int rows = 60, values = 8;

// A row number, a kind a or b in turn, and values in [0, 1).
std::string table(const Folder& folder, const std::string& header) {
  std::string text = header;
  for (int i = 0; i < rows; ++i) {
    text += std::to_string(i) + (i % 2 == 0 ? ",a" : ",b");
    for (int k = 0; k < values; ++k) text += "," + std::to_string((i * 37 + k * 101 + i * k * k * 13) % 1000 / 1000.0);
    text += "\n";
  }
  return folder.write("table.csv", text).string();
}

constexpr const char* header = "id,kind,p,q,r,s,t,u,v,w\n";

Result train(const Folder& folder, const std::string& data, const std::string& task = "classes:0,1",
             const std::string& options = "--quiet") {
  return run("train " + options + " --data " + data + " --task " + task +
             " --samples 6 --architecture mlp:8 --steps 3 --out " + (folder / "run"));
}

bool holds_line(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

}  // namespace

TEST_CASE("training says how its data were read, and the run keeps it") {
  const Folder folder;
  const std::string data = "csv:" + table(folder, header) + ",label=kind";
  const std::vector<std::string> notes = {
      "read 60 samples of 8 inputs",
      "2 classes, numbered in the order of their names: 0 \"a\" (30), 1 \"b\" (30)",
      "the first line is a header",
      "the label is column 2 \"kind\", as asked for",
      "left out: column 1 \"id\", a row number",
  };
  const Result told = train(folder, data, "classes:0,1", "");
  INFO(told.err);
  REQUIRE(told.code == 0);
  for (const auto& note : notes) CHECK(holds_line(told.err, "train: " + note));
  const auto record = json_in(folder / "run/training.json");
  CHECK(record["data_notes"] == notes);
  CHECK(record["class_names"] == std::vector<std::string>{"a", "b"});

  // The control set is drawn from the same columns.
  const Result audited = run("audit --quiet " + (folder / "run") + " --attacks span --out " + (folder / "report"));
  INFO(audited.err);
  REQUIRE(fs::exists(folder / "report/report.json"));
  const auto report = json_in(folder / "report/report.json");
  CHECK(report["data"]["dimension"] == values);
  CHECK(report["data"]["control_samples"] == rows - 6);

  fs::remove_all(folder / "run");
  CHECK(train(folder, data).err.empty());
  CHECK(json_in(folder / "run/training.json")["data_notes"] == notes);
}

TEST_CASE("a class that the task names and no image has is said") {
  const Folder folder;
  const std::string data = "csv:" + table(folder, header) + ",label=kind";
  const Result told = train(folder, data, "\"groups:0,7|1\"", "");
  INFO(told.err);
  REQUIRE(told.code == 0);
  CHECK(holds_line(told.err, "train: the task's class 7 has no image"));
}

TEST_CASE("columns of a control table are put in the training table's order by their names, and others are refused") {
  const Folder folder;
  const std::string file = table(folder, header), data = "csv:" + file + ",label=kind";
  REQUIRE(train(folder, data).code == 0);
  CHECK(json_in(folder / "run/model.json")["columns"] ==
        std::vector<std::string>{"p", "q", "r", "s", "t", "u", "v", "w"});
  // The same table with its columns from the last to the first.
  std::string turned;
  std::istringstream lines(contents(file));
  for (std::string line; std::getline(lines, line);) {
    std::vector<std::string> fields;
    std::istringstream parts(line);
    for (std::string field; std::getline(parts, field, ',');) fields.push_back(field);
    for (auto field = fields.rbegin(); field != fields.rend(); ++field) turned += *field + ",";
    turned.back() = '\n';
  }
  folder.write("turned.csv", turned);
  const auto audited = [&](const std::string& control, const std::string& out) {
    return run("audit --quiet " + (folder / "run") + " --attacks span --control csv:" + control +
               ",label=kind,drop=id --out " + (folder / out));
  };
  const Result plain = audited(file, "plain"), other = audited(folder / "turned.csv", "turned");
  INFO(plain.err + other.err);
  REQUIRE(fs::exists(folder / "turned/report.json"));
  CHECK(json_in(folder / "turned/report.json")["findings"] == json_in(folder / "plain/report.json")["findings"]);
  CHECK(other.out.find("put in the order of those of the training set") != std::string::npos);
  // The page shows records with the names of their columns.
  const auto report = json_in(folder / "plain/report.json");
  CHECK(report["data"]["kind"] == "record");
  CHECK(report["data"]["columns"].size() == values);

  // A training table given beside loose weights is put in the model's order likewise.
  std::string others = header;
  for (int i = 0; i < rows; ++i) {
    others += std::to_string(i) + (i % 2 == 0 ? ",a" : ",b");
    for (int k = 0; k < values; ++k) others += "," + std::to_string((i * 53 + k * 211 + i * i * k) % 1000 / 1000.0);
    others += "\n";
  }
  const std::string control = folder.write("others.csv", others).string();
  const auto loose = [&](const std::string& training, const std::string& out) {
    const std::string run_folder = folder / "run";
    return run("audit --quiet --initial " + run_folder + "/initial.safetensors --trained " + run_folder +
               "/trained.safetensors --model " + run_folder +
               "/model.json --attacks span --training-set csv:" + training +
               ",label=kind,drop=id --control csv:" + control + ",label=kind,drop=id --out " + (folder / out));
  };
  const Result straight = loose(file, "straight"), crossed = loose(folder / "turned.csv", "crossed");
  INFO(straight.err + crossed.err);
  REQUIRE(fs::exists(folder / "crossed/report.json"));
  CHECK(json_in(folder / "crossed/report.json")["findings"] == json_in(folder / "straight/report.json")["findings"]);
  CHECK(crossed.out.find("put in the order of those of the model") != std::string::npos);

  std::string renamed = turned;
  renamed.replace(renamed.find("w,"), 1, "z");
  folder.write("renamed.csv", renamed);
  const Result refused = audited(folder / "renamed.csv", "renamed");
  CHECK(refused.code == 4);
  CHECK(lines_in(refused.err) == 1);
  CHECK(refused.err.find("the same columns") != std::string::npos);
  const Result unlike = loose(folder / "renamed.csv", "unlike");
  CHECK(unlike.code == 4);
  CHECK(lines_in(unlike.err) == 1);
  CHECK(unlike.err.find("those of the model") != std::string::npos);
}

TEST_CASE("data whose classes or columns do not fit what is asked for are not trained on") {
  const Folder folder;
  const std::string file = table(folder, header);
  const auto refused = [&](const Result& result, int code, const std::string& what) {
    INFO(result.err);
    CHECK(result.code == code);
    CHECK(lines_in(result.err) == 1);
    CHECK(result.err.find(what) != std::string::npos);
    CHECK_FALSE(fs::exists(folder / "run"));
  };
  const std::string data = "csv:" + file + ",label=kind";
  refused(train(folder, data, "classes:1,7"), 2, "--task classes:1,7: no image is of class 7 (the side +1)");
  refused(train(folder, "csv:" + file + ",label=sort"), 2, "label=sort");
  refused(train(folder, "csv:" + file + ",label=kind,drop=-3"), 2, "drop=-3");
  // Of a row number that is left out, the kind and the last value, the kind is the label: text repeats.
  CHECK(train(folder, "csv:" + table(folder, "")).code == 0);
  fs::remove_all(folder / "run");
  table(folder, header);
  refused(train(folder, "csv:" + file + ",drop=kind"), 4, "which column is the label is not certain");
}

}  // namespace afterimage::test
