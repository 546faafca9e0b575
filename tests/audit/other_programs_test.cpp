// Weights and data as other programs write them, through the program: what is said, and what is refused.
#include <catch2/catch.hpp>
#include <fstream>

#include "models/formats/npz.h"
#include "models/formats/safetensors.h"
#include "models/tensor.h"
#include "tests/audit/control_images.h"
#include "tests/audit/program.h"

namespace afterimage::test {
namespace {

const std::string released = std::string(TEST_DATA) + "/released/";

bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// The weights of a run as Keras would write them.
void write_as_keras(const std::string& from, const std::string& to) {
  NamedArrays arrays;
  for (const auto& [name, array] : read_safetensors(from).arrays) {
    const std::string layer = std::string("sequential/dense_") + name[2];
    if (name.ends_with("weight")) {
      arrays.emplace_back(layer + "/kernel", to_array(to_tensor(array).t().contiguous()));
    } else {
      arrays.emplace_back(layer + "/bias", array);
    }
  }
  write_npz(to, arrays);
}

// With `prefix` before each name, and a counter beside them.
void write_wrapped(const std::string& from, const std::string& to, const std::string& prefix) {
  Safetensors wrapped;
  for (auto& [name, array] : read_safetensors(from).arrays)
    wrapped.arrays.emplace_back(prefix + name, std::move(array));
  wrapped.arrays.emplace_back("n_averaged", array_of({1}, std::vector<std::int64_t>{7}));
  write_safetensors(to, wrapped);
}

std::string audit_of(const Folder& folder, const std::string& run_folder, const std::string& initial,
                     const std::string& trained, const std::string& report) {
  write_control(run_folder, folder / "control.npz");
  return "audit --initial " + initial + " --trained " + trained + " --training-set " + run_folder +
         "/training-set.npz --control npz:" + (folder / "control.npz") + " --task odd-even --attacks span --out " +
         (folder / report);
}

}  // namespace

TEST_CASE("weights of Keras and of wrapped networks give the findings of the plain ones, and say what was changed") {
  const Folder folder;
  const std::string run_folder = small_run(folder), initial = run_folder + "/initial.safetensors",
                    trained = run_folder + "/trained.safetensors";
  write_as_keras(initial, folder / "keras-initial.npz");
  write_as_keras(trained, folder / "keras-trained.npz");
  write_wrapped(trained, folder / "averaged.safetensors", "module.");
  write_wrapped(trained, folder / "inside.safetensors", "net.body.");
  REQUIRE(run(audit_of(folder, run_folder, initial, trained, "plain")).code == 0);
  const auto expected = json_in(folder / "plain/report.json")["findings"][0]["membership"];
  const std::array<std::array<std::string, 3>, 3> others = {
      {{folder / "keras-initial.npz", folder / "keras-trained.npz", "kernels [..., in, out] are read as weights"},
       {initial, folder / "averaged.safetensors", "names without their \"module.\""},
       {initial, folder / "inside.safetensors", "names without their \"net.body.\", as in the other file"}}};
  int number = 0;
  for (const auto& [before, after, said] : others) {
    CAPTURE(after);
    const std::string report = "report" + std::to_string(++number);
    const Result result = run(audit_of(folder, run_folder, before, after, report));
    INFO(result.err);
    REQUIRE(result.code == 0);
    CHECK(says(result.out, said));
    const auto document = json_in(folder / (report + "/report.json"));
    CHECK(document["findings"][0]["membership"] == expected);
    CHECK(says(document["inputs"].dump(), "\"notes\""));
  }
}

TEST_CASE("a new head on a frozen network is called that, by inspect and by audit") {
  const Folder folder;
  const std::string run_folder = small_run(folder);
  const Safetensors trained = read_safetensors(run_folder + "/trained.safetensors");
  Safetensors base;
  for (const auto& [name, array] : trained.arrays) {
    if (name == "fc3.weight") {
      base.arrays.emplace_back(name, to_array(at::rand({10, 128})));
    } else if (name == "fc3.bias") {
      base.arrays.emplace_back(name, to_array(at::rand({10})));
    } else {
      base.arrays.emplace_back(name, array);
    }
  }
  write_safetensors(folder / "base.safetensors", base);
  const std::string after = run_folder + "/trained.safetensors";
  const Result inspected = run("inspect " + (folder / "base.safetensors") + " " + after);
  CHECK(inspected.code == 0);
  CHECK(says(inspected.out, "new head on a frozen network: fc3.weight, fc3.bias"));
  const Result audited = run(audit_of(folder, run_folder, folder / "base.safetensors", after, "report"));
  CHECK(audited.code == 4);
  CHECK(says(audited.err, "only the new head was trained"));
  CHECK(lines_in(audited.err) == 1);
  // The remedy that it names works.
  Safetensors with_head = trained;
  for (auto& [name, array] : with_head.arrays) {
    if (name == "fc3.weight") array = to_array(at::rand({1, 128}));
  }
  write_safetensors(folder / "before.safetensors", with_head);
  const Result again = run(audit_of(folder, run_folder, folder / "before.safetensors", after, "again"));
  INFO(again.err);
  CHECK((again.code == 0 || again.code == 3));
}

TEST_CASE("a network of one layer is trained, inspected and audited") {
  const Folder folder;
  const Result trained =
      run("train --data fashion-mnist --task odd-even --samples 12 --architecture linear --steps 200 "
          "--quiet --out " +
          (folder / "run"));
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  const std::string initial = folder / "run/initial.safetensors", after = folder / "run/trained.safetensors";
  const Result inspected = run("inspect " + initial + " " + after);
  CHECK(says(inspected.out, "fully connected layers: linear on inputs of 784, 1 output(s)"));
  CHECK_FALSE(says(inspected.out, "so many"));
  const Result audited = run("audit " + (folder / "run") + " --quiet --out " + (folder / "report"));
  INFO(audited.err);
  CHECK((audited.code == 0 || audited.code == 3));
  CHECK(says(audited.out, "finite-width: not-applicable"));
}

TEST_CASE("a training set may be a CSV file, and copies of it in the control set are left out and counted") {
  const Folder folder;
  Generator random = seeded(1);
  const auto write_table = [&](const std::string& name, const Tensor& rows) {
    std::ofstream out(folder.at(name));
    out << "label";
    for (std::int64_t j = 0; j < rows.size(1); ++j) out << ",x" << j;
    out << '\n';
    for (std::int64_t i = 0; i < rows.size(0); ++i) {
      out << i % 2;
      for (std::int64_t j = 0; j < rows.size(1); ++j) out << ',' << rows[i][j].item<float>();
      out << '\n';
    }
  };
  const Tensor all = at::rand({80, 12}, random, at::kFloat).mul(1000).round().div(1000);
  write_table("all.csv", all);
  write_table("control.csv", at::cat({all.narrow(0, 10, 60), all.narrow(0, 0, 3)}));
  write_table("training.csv", all.narrow(0, 0, 10));
  NamedArrays set = {{"images", to_array(all.narrow(0, 0, 10))},
                     {"labels", array_of({10}, std::vector<std::int64_t>{0, 1, 0, 1, 0, 1, 0, 1, 0, 1})}};
  write_npz(folder.at("set.npz"), set);
  REQUIRE(run("train --data npz:" + (folder / "set.npz") +
              " --task classes:0,1 --samples 10 --architecture mlp:64 --mean none --steps 300 --quiet --out " +
              (folder / "run"))
              .code == 0);
  const Result result =
      run("audit --initial " + (folder / "run/initial.safetensors") + " --trained " +
          (folder / "run/trained.safetensors") + " --task classes:0,1 --training-set csv:" + (folder / "training.csv") +
          " --control csv:" + (folder / "control.csv") + " --attacks span --quiet --out " + (folder / "report"));
  INFO(result.err);
  REQUIRE((result.code == 0 || result.code == 3));
  CHECK(says(result.out,
             "control: 3 of 63 images are training images or near copies of them, and left out (rows 60, 61, 62"));
  CHECK(json_in(folder / "report/report.json")["data"]["control_samples"] == 60);
  CHECK(run("verify " + (folder / "report/report.json")).code == 0);
}

TEST_CASE("inspect says what a file of another program is, and what an audit takes it for") {
  const std::pair<const char*, const char*> files[] = {
      {"keras-3.15.1/paths.npz", "for an audit: 2 kernels [..., in, out] are read as weights"},
      {"pytorch-2.15.0/no-crc32.pt", "no checksums"},
      {"pytorch-2.15.0/weight-norm.pt", "the weight normalisation of 2 layers is carried out"},
      {"pytorch-2.15.0/averaged.pt", "for an audit: left out: n_averaged (int64)"},
      {"pytorch-2.15.0/checkpoint.pt", "not built: "},
      {"pytorch-2.15.0/quantized.pt", "is quantized"},
      {"peft-0.21.2/unmerged.pt", "not merged"},
      {"transformers-5.24.0/sharded", "safetensors in 2 files"},
      {"lightning-2.6.6/checkpoint.ckpt", "state dict at \"state_dict\""}};
  for (const auto& [file, said] : files) {
    CAPTURE(file);
    const Result result = run("inspect " + released + file);
    CHECK(result.code == 0);
    CHECK(says(result.out, said));
  }
  for (const char* file :
       {"pytorch-2.15.0/exported.pt2", "keras-3.15.1/model.keras", "keras-3.15.1/model.weights.h5"}) {
    CAPTURE(file);
    const Result result = run("inspect " + released + file);
    CHECK(result.code == 4);
    CHECK(lines_in(result.err) == 1);
    CHECK(says(result.err, "which is not read; "));
  }
}

}  // namespace afterimage::test
