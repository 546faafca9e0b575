#include "models/foundations/options.h"

#include <catch2/catch.hpp>

#include "models/foundations/error.h"

namespace afterimage {

TEST_CASE("a value fits the type of its option or is refused with what would fit") {
  for (const auto& [type, text] : std::vector<std::pair<std::string, std::string>>{{"INTEGER", "12"},
                                                                                   {"INTEGER", "-3"},
                                                                                   {"INTEGER", "1e3"},
                                                                                   {"NUMBER", "-2.5e-3"},
                                                                                   {"NUMBER,...", "0.5"},
                                                                                   {"NUMBER,...", "0,0.5,1"},
                                                                                   {"NUMBER|auto", "auto"},
                                                                                   {"NUMBER|auto", "0.2"},
                                                                                   {"span|pixels", "pixels"},
                                                                                   {"TEXT", ""},
                                                                                   {"TEXT", "anything"}}) {
    CAPTURE(type, text);
    CHECK(type_fault(type, text).empty());
  }
  CHECK(type_fault("INTEGER", "2.5") == "2.5 has to be a whole number");
  CHECK(type_fault("INTEGER", "") == " has to be a whole number");
  CHECK(type_fault("INTEGER", "3x") == "3x has to be a whole number");
  CHECK(type_fault("NUMBER", "nan") == "nan has to be a number");
  CHECK(type_fault("NUMBER", "1e999") == "1e999 has to be a number");
  CHECK(type_fault("NUMBER,...", "0,x,1") == "0,x,1 has to be numbers with commas between them");
  CHECK(type_fault("NUMBER,...", "") == " has to be numbers with commas between them");
  CHECK(type_fault("NUMBER|auto", "\x1b[2J") == "\\x1b[2J has to be a number or auto");
  CHECK(type_fault("auto|pixels|span", "Span") == "Span has to be auto, pixels or span");
}

TEST_CASE("options have the given values, else their defaults, and values out of range are refused by name") {
  const std::vector<OptionSpec> specs = {
      {"steps", "", "5", "INTEGER"}, {"rate", "", "0.1", "NUMBER"}, {"points", "", "0,1", "NUMBER,..."}};
  const OptionValues values(specs, {{"steps", "7"}});
  CHECK(values.whole("steps", 1, 10) == 7);
  CHECK(values.number("rate", 0, 1) == 0.1);
  CHECK(values.numbers("points", 0, 1) == std::vector<double>{0, 1});
  CHECK_THROWS_WITH(values.whole("steps", 1, 6), "--steps 7: has to be a number from 1 to 6");
  CHECK_THROWS_WITH(values.number("rate", 0.5, 1), "--rate 0.1: has to be a number from 0.5 to 1");
  CHECK_THROWS_WITH(values.numbers("points", 0.5, 1), "--points 0: has to be a number from 0.5 to 1");
  CHECK_THROWS_AS(OptionValues(specs, {{"steps", "2.5"}}).whole("steps", 1, 6), UsageError);
  CHECK_THROWS_AS(OptionValues(specs, {{"points", ""}}).numbers("points", 0, 1), UsageError);
  CHECK_THROWS_AS(OptionValues(specs, {{"rate", "fast"}}).one_of("rate", {"slow"}), UsageError);
}

}  // namespace afterimage
