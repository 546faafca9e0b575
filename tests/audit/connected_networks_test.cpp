// Networks of low-rank, sparse connectivity, from training to the report.
#include <fmt/format.h>

#include <catch2/catch.hpp>

#include "tests/audit/program.h"

namespace afterimage::test {
namespace {

const std::string small = "train --quiet --data fashion-mnist --task odd-even --samples 8 --steps 60 --until-loss 0 ";

}  // namespace

TEST_CASE("recurrent and low-rank networks are trained, forecast and audited, and attacks say why they do not apply") {
  const Folder folder;
  for (const std::string architecture : {"cfc:12,rank=4,sparsity=0.25,mask=2", "low-rank-mlp:24,16,rank=4"}) {
    CAPTURE(architecture);
    const bool recurrent = architecture.starts_with("cfc");
    const std::string out = folder / (recurrent ? "cfc" : "mlp"), report = out + "-report";
    const Result trained = run(small + "--architecture " + architecture + " --learning-rate 0.05 --out " + out);
    INFO(trained.err);
    REQUIRE(trained.code == 0);
    CHECK(json_in(out + "/model.json")["architecture"] == architecture);
    const std::string audit = "audit --quiet " + out + " --attacks span,vertices,flow --out " + report;
    CHECK(run(audit + " --dry-run").code == 0);
    const Result audited = run(audit);
    INFO(audited.err);
    const auto whole = json_in(report + "/report.json");
    const auto findings = whole["findings"], matrices = whole["model"]["connectivity"];
    REQUIRE(matrices.size() == (recurrent ? 3 : 1));
    CHECK(matrices[0]["matrix"] == (recurrent ? "recurrent f" : "fc2"));
    CHECK(matrices[0]["trained"]["singular_values"].size() == (recurrent ? 12 : 16));
    CHECK(matrices[0]["trained"]["singular_values"] != matrices[0]["initial"]["singular_values"]);
    CHECK(matrices[0]["trained"]["radius"].is_null() == !recurrent);
    // The time gate has no mask, so that its rank is as asked for; that of the other is 4 too.
    CHECK(matrices[0]["trained"]["singular_values"][3].get<double>() > 0.01);
    CHECK(matrices[0]["trained"]["singular_values"][4].get<double>() < 1e-6);
    CHECK(contents(report + "/report.html").find("<td class=\"num\" data-label=\"Norm\">") != std::string::npos);
    CHECK(findings[0]["status"] == (recurrent ? "not-applicable" : "ok"));
    if (recurrent)
      CHECK(findings[0]["reason"].get<std::string>().find("time slices of 28 numbers") != std::string::npos);
    for (const int other : {1, 2}) CHECK(findings[other]["status"] == "not-applicable");
  }
}

TEST_CASE("an architecture with an impossible rank, sparsity or width is refused in one line, and nothing is written") {
  const Folder folder;
  const std::string out = folder / "run";
  for (const auto& [architecture, why] :
       std::vector<std::pair<std::string, std::string>>{{"rnn:8,rank=9", "rank 9 is above the width 8"},
                                                        {"lstm:8,sparsity=1", "sparsity 1 has to be"},
                                                        {"gru:8,sparsity=-0.5", "sparsity -0.5 has to be"},
                                                        {"cfc:8,depth=3", "there are rank, sparsity, mask and time"},
                                                        {"cfc", "unknown family"},
                                                        {"low-rank-mlp:8", "two widths or more"}}) {
    CAPTURE(architecture);
    const Result result = run(small + "--architecture " + architecture + " --out " + out);
    CHECK(result.code == 2);
    CHECK(lines_in(result.err) == 1);
    CHECK(result.err.find(why) != std::string::npos);
    CHECK_FALSE(fs::exists(out));
  }
  const Result ntk = run(small + "--architecture rnn:8 --parameterization ntk --out " + out);
  CHECK(ntk.code == 2);
  CHECK(ntk.err.find("has to be standard") != std::string::npos);
}

TEST_CASE("a table of sequences is trained on and audited as records whose steps have names") {
  const Folder folder;
  std::string text = "patient,day,pulse,flow,label\n";
  for (int patient = 0; patient < 60; ++patient) {
    for (int step = 0, day = 0; step < 5; ++step, day += 1 + (patient + step) % 3) {
      text += fmt::format("p{},{},{:.3f},{:.3f},{}\n", patient, day, ((patient * 7 + step * 13) % 97) / 97.0,
                          ((patient * 31 + step * 5) % 89) / 89.0, patient % 2);
    }
  }
  const std::string file = folder.write("steps.csv", text).string(), out = folder / "run";
  const std::string train =
      "train --quiet --task classes:0,1 --samples 4 --steps 200 --until-loss 0 --learning-rate 0.05 ";
  const std::string data = "--data csv:" + file + ",sequence=patient,time=day ", to = " --out " + out;
  const Result result = run(train + data + "--architecture cfc:8,time=first --mean none" + to);
  INFO(result.err);
  REQUIRE(result.code == 0);
  CHECK(json_in(out + "/model.json")["input_shape"].get<std::vector<int>>() == std::vector<int>{5, 3});
  const Result audited =
      run("audit --quiet " + out + " --attacks span,finite-width --time-limit 3 --out " + (folder / "report"));
  INFO(audited.err);
  REQUIRE((audited.code == 0 || audited.code == 3));
  const auto report = json_in(folder / "report/report.json");
  CHECK(report["data"]["kind"] == "record");
  CHECK(report["data"]["columns"][3] == "step 2 elapsed/3");
  CHECK(report["data"]["columns"][14] == "step 5 flow");
  CHECK(report["findings"][1]["mean_ssim"].is_null());
  CHECK_FALSE(fs::exists(folder / "report/contact-sheet.png"));
  CHECK(run("verify " + (folder / "report/report.json")).out.find("\nverified\n") != std::string::npos);

  // Of another file, in which the longest step is another: its times would be on another scale.
  std::string others = "patient,day,pulse,flow,label\n";
  for (int patient = 0; patient < 60; ++patient) {
    for (int step = 0; step < 5; ++step) {
      others +=
          fmt::format("q{},{},{:.3f},{:.3f},{}\n", patient, step == 4 ? 5 : step,
                      ((patient * 5 + step * 11) % 83) / 83.0, ((patient * 3 + step * 7) % 79) / 79.0, patient % 2);
    }
  }
  const std::string control = folder.write("others.csv", others).string();
  const std::string again =
      "audit --quiet " + out + " --attacks span --control csv:" + control + ",sequence=patient,time=day";
  const Result scaled = run(again + " --out " + (folder / "scaled"));
  CHECK(scaled.code == 4);
  CHECK(scaled.err.find("its times are shares of 2, those of the training set of 3; give both the same") !=
        std::string::npos);
  CHECK(run(again + ",longest=3 --out " + (folder / "scaled")).code == 3);
  // So it is for a training table beside loose weights.
  const Result loose = run(
      "audit --quiet --initial " + out + "/initial.safetensors --trained " + out + "/trained.safetensors --model " +
      out + "/model.json --attacks span --training-set csv:" + control +
      ",sequence=patient,time=day --control csv:" + file + ",sequence=patient,time=day --out " + (folder / "loose"));
  CHECK(loose.code == 4);
  CHECK(loose.err.find("its times are shares of 2, those of the model of 3") != std::string::npos);
  const auto refused = [&](const std::string& command, int code, const std::string& why) {
    const Result wrong = run(command + " --out " + (folder / "wrong"));
    CAPTURE(command, wrong.err);
    CHECK(wrong.code == code);
    CHECK(lines_in(wrong.err) == 1);
    CHECK(wrong.err.find(why) != std::string::npos);
    CHECK_FALSE(fs::exists(folder / "wrong"));
  };
  refused(train + data + "--architecture cfc:8,time=first", 2, "use none");
  refused("train --quiet --task classes:0,1 --samples 4 --steps 5 --loss logistic " + data +
              "--architecture gru:8 --defense lelp --defense-option student=cfc:8,time=first",
          2, "use none");
  refused(train + data + "--architecture gru:8 --augment 1", 2, "needs pictures");
  refused(train + "--data csv:" + file + ",time=day --architecture cfc:8", 2, "go together");
  const std::string unsorted =
      folder.write("unsorted.csv", "p,t,x,label\na,2,0.5,0\na,1,0.25,0\nb,1,0,1\nb,2,1,1\n").string();
  const std::string twice =
      folder.write("twice.csv", "p,t,x,label\na,1,0.5,0\na,1,0.25,0\nb,1,0,1\nb,2,1,1\n").string();
  refused(train + "--data csv:" + unsorted + ",sequence=p,time=t --architecture cfc:8", 4, "times that fall");
  refused(train + "--data csv:" + twice + ",sequence=p,time=t --architecture cfc:8", 4, "the same time twice");
  const std::string even = folder.write("even.csv", "p,t,x,label\na,1,0.5,0\na,2,0.25,0\nb,1,0,1\nb,2,1,1\n").string();
  refused("train --quiet --task classes:0,1 --samples 2 --mean none --data csv:" + even +
              ",sequence=p,time=t --architecture cfc:8,time=first",
          2, "all steps of the data are alike");
}

}  // namespace afterimage::test
