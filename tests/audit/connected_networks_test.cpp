// Networks of low-rank, sparse connectivity, from training to the report.
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
    const auto findings = json_in(report + "/report.json")["findings"];
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
                                                        {"cfc:8,depth=3", "there are rank, sparsity and mask"},
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

}  // namespace afterimage::test
