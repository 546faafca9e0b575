// The copies of the program that most tests run are like the program.
#include "tests/audit/program.h"

#include <catch2/catch.hpp>

#include "models/tensor.h"

namespace afterimage::test {

TEST_CASE("the program gives the same from its file as in a copy of a loaded process") {
  const Folder folder;
  const std::string run_folder = small_run(folder), audit = "audit --quiet --attacks span,vertices " + run_folder;
  const std::string words = "inspect 'no such file' \"" + run_folder + "\"";
  CHECK(at::mm(at::rand({200, 200}), at::rand({200, 200})).numel() == 40000);  // this process may have threads by now
  for (const std::string& arguments : {std::string("--version"), std::string("attack list"), words,
                                       std::string("audit nowhere --out x"), "audit --attacks span " + run_folder}) {
    CAPTURE(arguments);
    const Result copied = run(arguments), typed = run_in_shell(arguments);
    CHECK(copied.code == typed.code);
    CHECK(copied.out == typed.out);
    CHECK(copied.err == typed.err);
    CHECK_FALSE(typed.out.empty() == typed.err.empty());
  }
  REQUIRE(run(audit + " --out " + (folder / "copied")).code == 0);
  REQUIRE(run_in_shell(audit + " --out " + (folder / "typed")).code == 0);
  CHECK(without_timing(folder / "copied/report.json") == without_timing(folder / "typed/report.json"));
}

TEST_CASE("a copy of the program reads its arguments as a shell does") {
  const Folder folder;
  write(folder / "a b", "");
  const Result spaced = run("inspect '" + (folder / "a b") + "'");
  CHECK(spaced.code == 4);
  CHECK(spaced.err.find(folder / "a b") != std::string::npos);
  CHECK(run("--version | tr a-z A-Z").out.find("AFTERIMAGE") == 0);  // by a shell
}

}  // namespace afterimage::test
