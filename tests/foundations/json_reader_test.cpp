// Paths in messages on JSON from files.
#include "models/foundations/json_reader.h"

#include <catch2/catch.hpp>

#include "models/foundations/error.h"

namespace afterimage::json {
namespace {

template <class Read>
std::string refusal(const Json& document, Read&& read) {
  try {
    read(Reader(document, "f.json", "the policy"));
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a message names the file and the place, with items of lists by their number, and the root by its name") {
  const Json document = Json::parse(R"({"a": [{"b": 1}, {"b": "x"}], "list": [[1, "y"]]})");
  CHECK(refusal(document, [](const Reader& in) { in["a"].list()[1]["b"].real(); }) ==
        "f.json: a[1].b has to be a number");
  CHECK(refusal(document, [](const Reader& in) { in["list"].list()[0].list()[1].real(); }) ==
        "f.json: list[0][1] has to be a number");
  CHECK(refusal(document, [](const Reader& in) { in.text(); }) == "f.json: the policy has to be a string");
  CHECK(refusal(document, [](const Reader& in) { in["a"]["b"]; }) == "f.json: a has to be an object");
  CHECK(refusal(document, [](const Reader& in) { in.required("c"); }) == "f.json: c is missing");
  CHECK(refusal(Json{{"x\n", 1}}, [](const Reader& in) { in.items().front().second.text(); }) ==
        "f.json: x\\x0a has to be a string");
}

TEST_CASE("an unknown key is refused beside those that are known, and one that is missing is null") {
  const Json document = Json::parse(R"({"known": 1, "odd\n": 2})");
  CHECK(refusal(document, [](const Reader& in) {
          in.require_keys_among({"known", "other"});
        }) == "f.json: the policy has the unknown key \"odd\\x0a\"; known are known, other");
  CHECK(refusal(document, [](const Reader& in) { in.require_keys_among({"known", "odd\n"}); }).empty());
  const Reader in(document, "f.json");
  CHECK(in["other"].is_null());
  CHECK_FALSE(in.find("other"));
  CHECK(in.find("known")->whole() == 1);
}

TEST_CASE("numbers are held to their range") {
  const Json document = Json::parse(R"({"low": -1, "high": 11, "ok": 10, "real": 1.0, "huge": 18446744073709551615})");
  const auto whole = [](const char* key) { return [key](const Reader& in) { in[key].whole(0, 10); }; };
  for (const char* key : {"low", "high", "real", "huge", "none"}) {
    CAPTURE(key);
    CHECK(refusal(document, whole(key)).ends_with("has to be a whole number from 0 to 10"));
  }
  CHECK(refusal(document, whole("ok")).empty());
  CHECK(refusal(document, [](const Reader& in) { in["huge"].whole(); }) == "f.json: huge is too large");
  CHECK(refusal(document, [](const Reader& in) { in["ok"].fraction(); }).ends_with("a fraction from 0 to 1"));
  CHECK(refusal(document, [](const Reader& in) { in["none"].fraction(); }).ends_with("a fraction from 0 to 1"));
}

TEST_CASE("a list has to be there unless it may be missing") {
  const Json document = Json::parse(R"({"null": null, "two": [1, 2], "text": "x"})");
  const Reader in(document, "f.json");
  CHECK(in["null"].list_or_empty().size() == 0);
  CHECK(in["two"].two() == std::pair(1.0, 2.0));
  for (const char* key : {"null", "text"}) CHECK_THROWS_AS(in[key].list(), InputError);
  CHECK_THROWS_AS(in["text"].list_or_empty(), InputError);
  CHECK_THROWS_AS(in["text"].two(), InputError);
}

TEST_CASE("what is wrong in a file that is bad usage is a usage error with the same words") {
  const Json document = Json::object();
  CHECK_THROWS_WITH(input_as_usage([&] { return Reader(document, "p.json")["x"].text(); }),
                    "p.json: x has to be a string");
  CHECK_THROWS_AS(input_as_usage([&] { return Reader(document, "p.json")["x"].text(); }), UsageError);
}

}  // namespace afterimage::json
