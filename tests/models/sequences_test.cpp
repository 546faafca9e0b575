#include <algorithm>
#include <catch2/catch.hpp>

#include "models/data/labelled_images.h"
#include "models/formats/time_stamp.h"
#include "models/foundations/error.h"
#include "tests/folder.h"

namespace afterimage {
namespace {

const std::string columns = ",sequence=who,time=when";

std::string data_of(const test::Folder& folder, const std::string& text, const std::string& options = columns) {
  return "csv:" + folder.write("steps.csv", text).string() + options;
}

bool has_note(const LabelledImages& images, const std::string& text) {
  return std::any_of(images.notes.begin(), images.notes.end(),
                     [&](const std::string& note) { return note.find(text) != std::string::npos; });
}

}  // namespace

TEST_CASE("lines of a table become sequences in the order of the file, with names for every number") {
  const test::Folder folder;
  // Columns in any order, and sequences whose names are no numbers and not sorted.
  const std::string header = "pulse,who,when,label,flow\n";
  const LabelledImages even = load_images(data_of(
      folder, header + "0.1,b,3,1,0.5\n0.2,b,4,1,0.6\n0.3,b,5,1,0.7\n0.4,a,10,0,0.8\n0.5,a,11,0,0.9\n0.6,a,12,0,1\n"));
  CHECK(even.images.sizes() == at::IntArrayRef({2, 3, 2}));
  CHECK(at::equal(even.images[0], at::tensor({0.1F, 0.5F, 0.2F, 0.6F, 0.3F, 0.7F}).view({3, 2})));
  CHECK(at::equal(even.images[1], at::tensor({0.4F, 0.8F, 0.5F, 0.9F, 0.6F, 1.0F}).view({3, 2})));
  CHECK(at::equal(even.labels, at::tensor({1, 0}, at::kLong)));
  CHECK(even.columns == std::vector<std::string>{"step 1 pulse", "step 1 flow", "step 2 pulse", "step 2 flow",
                                                 "step 3 pulse", "step 3 flow"});
  CHECK(has_note(even, "2 sequences of 3 steps"));
  CHECK(has_note(even, "the sequence is column 2 \"who\", the time column 3 \"when\""));
  CHECK(has_note(even, "each step is 1 after"));
  // The same without a header, by numbers of columns.
  const LabelledImages numbered =
      load_images(data_of(folder, "0.1,b,3,1\n0.2,b,4,1\n0.4,a,10,0\n0.5,a,11,0\n", ",sequence=2,time=3,label=4"));
  CHECK(numbered.columns == std::vector<std::string>{"step 1 column 1", "step 2 column 1"});
}

TEST_CASE("times that are not even become a number of each step, as shares of the longest") {
  const test::Folder folder;
  const LabelledImages uneven = load_images(
      data_of(folder, "who,when,x,label\na,0,0.1,0\na,1,0.2,0\na,3,0.3,0\nb,7,0.4,1\nb,11,0.5,1\nb,12,0.6,1\n"));
  CHECK(uneven.images.sizes() == at::IntArrayRef({2, 3, 2}));
  CHECK(at::equal(uneven.images.select(2, 0), at::tensor({0.0F, 0.25F, 0.5F, 0.0F, 1.0F, 0.25F}).view({2, 3})));
  CHECK(at::equal(uneven.images.select(2, 1), at::tensor({0.1F, 0.2F, 0.3F, 0.4F, 0.5F, 0.6F}).view({2, 3})));
  CHECK(uneven.columns.front() == "step 1 elapsed/4");
  CHECK(has_note(uneven, "steps are 1 to 4 apart"));
  // The same with a divisor of one's own, so that two files are alike.
  const LabelledImages given = load_images(
      data_of(folder, "who,when,x,label\na,0,0.1,0\na,1,0.2,0\nb,7,0.4,1\nb,8,0.5,1\n", columns + ",longest=8"));
  CHECK(given.columns.front() == "step 1 elapsed/8");
  CHECK(at::equal(given.images[1].select(1, 0), at::tensor({0.0F, 0.125F})));
  // Even steps of a tenth of a second are even, though 1.7e9 + 0.1 is not exact.
  const LabelledImages clock = load_images(
      data_of(folder, "who,when,x,label\na,1700000000.1,0.1,0\na,1700000000.2,0.2,0\na,1700000000.3,0.2,0\n"));
  CHECK(has_note(clock, "each step is 0.1 after"));
  // Dates: 2024 is a leap year, so that February has 29 days. Whole numbers of the values alone are divided by 255.
  const LabelledImages dates =
      load_images(data_of(folder, "who,when,x,label\na,2024-01-31,51,0\na,2024-02-29,255,0\na,2024-03-31,0,0\n"));
  CHECK(at::allclose(dates.images[0].select(1, 0), at::tensor({0.0F, 29 / 31.0F, 1.0F})));
  CHECK(at::allclose(dates.images[0].select(1, 1), at::tensor({0.2F, 1.0F, 0.0F})));
}

TEST_CASE("time stamps are numbers, dates or dates with times, and nothing else") {
  const auto read = [](const std::string& text) {
    const auto stamp = time_in(text);
    REQUIRE(stamp);
    return std::pair(stamp->time, stamp->is_date);
  };
  CHECK(read("-1.5e3") == std::pair(-1500.0, false));
  CHECK(read("1970-01-02") == std::pair(86400.0, true));
  CHECK(read("1970-01-01T00:01") == std::pair(60.0, true));
  CHECK(read("1970-01-01 01:00:01") == std::pair(3601.0, true));
  for (const char* text : {"", "soon", "inf", "nan", "2023-02-29", "2024-13-01", "1970-01-01T", "1970-01-01x", "10:00",
                           "05-01-24", "970-01-01", "19700-01-01"}) {
    CAPTURE(text);
    CHECK_FALSE(time_in(text));
  }
}

TEST_CASE("steps that are out of order, repeated, of two labels or of other lengths are refused by their sequence") {
  const test::Folder folder;
  const std::string header = "who,when,x,label\n";
  const auto refused = [&](const std::string& lines, const std::string& why) {
    CAPTURE(lines);
    CHECK_THROWS_AS(load_images(data_of(folder, header + lines)), InputError);
    CHECK_THROWS_WITH(load_images(data_of(folder, header + lines)), Catch::Contains(why));
  };
  refused("a,2,0.1,0\na,1,0.2,0\n", "sequence \"a\" has times that fall");
  refused("a,1,0.1,0\na,1,0.2,0\n", "sequence \"a\" has the same time twice");
  refused("a,1,0.1,0\na,2,0.2,0\nb,1,0.1,1\nb,2,0.3,1\na,3,0.1,0\n", "sequence \"a\" has lines in two places");
  refused("a,1,0.1,0\na,2,0.2,1\n", "sequence \"a\" has two labels");
  refused("a,1,0.1,0\na,2,0.2,0\nb,1,0.1,1\n", "\"a\" has 2 lines and \"b\" 1");
  refused("a,1,0.1,0\nb,2,0.2,1\n", "all sequences have one line");
  refused("a,noon,0.1,0\na,2,0.2,0\n", "line 2 has \"noon\" in column 2 \"when\", the time");
  refused(",1,0.1,0\n,2,0.2,0\n", "has nothing in column 1 \"who\", the sequence");
  refused("a,1,x,0\na,2,0.2,0\n", "in place of a number");
  refused("a,2024-01-01,0.1,0\na,1704153600,0.2,0\n", "line 3 has \"1704153600\" in column 2 \"when\", the time");
  refused("a,1,0.1,0\na,2024-01-01,0.2,0\n", "give numbers on all lines, or dates");
  refused("a,-1e308,0.1,0\na,1e308,0.2,0\n", "times too far apart");
  const std::string good = header + "a,1,0.1,0\na,2,0.2,0\n";
  for (const auto& [options, why] : std::vector<std::pair<std::string, std::string>>{
           {",time=when", "go together"},
           {",sequence=who", "go together"},
           {",sequence=who,time=who", "is named twice"},
           {",sequence=who,time=when,drop=who", "is named twice"},
           {",sequence=who,time=when,label=when", "cannot be the label too"},
           {",sequence=who,time=clock", "time=clock: the first line names no such column"},
           {",sequence=who,time=9", "the table has 4 columns"},
           {",sequence=who,time=when,time=when", "once each"},
           {",sequence=who,time=when,longest=0", "once each"},
           {",longest=5", "longest=NUMBER is for sequences"},
           {",drop=x,sequence=who,time=when", "leaves out all values"}}) {
    CAPTURE(options);
    CHECK_THROWS_AS(load_images(data_of(folder, good, options)), UsageError);
    CHECK_THROWS_WITH(load_images(data_of(folder, good, options)), Catch::Contains(why));
  }
  CHECK_THROWS_WITH(load_images(data_of(folder, good, columns + ",longest=1e300")), Catch::Contains("same order"));
  Preprocessing resized;
  resized.size = {4, 4};
  CHECK_THROWS_WITH(load_images(data_of(folder, good), resized), Catch::Contains("no pictures"));
}

TEST_CASE("a table's columns are put in the order of other names, and times of another scale are refused") {
  const test::Folder folder;
  LabelledImages table = load_images(data_of(folder, "b,a,label\n0.1,0.2,0\n0.3,0.4,1\n", ",label=label"));
  match_columns(table, {"a", "b"}, "the model");
  CHECK(at::equal(table.images, at::tensor({0.2F, 0.1F, 0.4F, 0.3F}).view({2, 2})));
  CHECK_THROWS_WITH(match_columns(table, {"a", "c"}, "the model"), Catch::Contains("those of the model"));
  const std::string even = "who,when,x,label\na,0,0.1,0\na,1,0.2,0\n",
                    uneven = "who,when,x,label\na,0,0.1,0\na,1,0.2,0\nb,0,0.1,1\nb,4,0.2,1\n";
  const auto refused = [&](const std::string& text, const std::string& first, const std::string& why) {
    LabelledImages steps = load_images(data_of(folder, text));
    std::vector<std::string> names = {"step 1 x", "step 2 x"};
    if (!first.empty()) names = {first, "step 1 x", "step 2 " + first.substr(7), "step 2 x"};
    CAPTURE(first);
    CHECK_THROWS_WITH(match_columns(steps, names, "the training set"), Catch::Contains(why));
  };
  refused(even, "step 1 elapsed/3", "those of the training set are not; write their times too, with longest=3");
  refused(uneven, "", "its steps are not evenly spaced, as those of the training set are");
  refused(uneven, "step 1 elapsed/8", "of 8; give both the same");
  refused(uneven, "step 1 elapsed/3", "of 3; leave out sequences with longer steps than that");
}

}  // namespace afterimage
