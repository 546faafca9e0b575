// The printed summary of a report.
#include <catch2/catch.hpp>

#include "reports/report.h"
#include "tests/audit/program.h"

namespace afterimage::test {

TEST_CASE("a finding without control images is printed with an unknown control") {
  const Folder folder;
  Report report;
  report.findings.emplace_back();
  report.findings.back().attack = "vertices";
  report.findings.back().reconstructed = rate_of(3, 4);
  write(folder / "report.json", to_json(report).dump());
  const Result result = run("inspect " + (folder / "report.json"));
  CHECK(result.code == 0);
  CHECK(result.out.find("reconstructed 3 of 4 training images (control unknown") != std::string::npos);
}

}  // namespace afterimage::test
