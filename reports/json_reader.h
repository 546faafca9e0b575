// Reading what json_parts.h writes: places in a document, and the parts that a report and a comparison share.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "reports/report.h"

namespace afterimage::json {

template <class Enum>
using Names = std::vector<std::pair<Enum, const char*>>;

inline const Names<Status> statuses = {{Status::ok, "ok"},
                                       {Status::not_applicable, "not-applicable"},
                                       {Status::inconclusive, "inconclusive"},
                                       {Status::failed, "failed"}};

template <class Enum>
std::string name_in(const Names<Enum>& names, Enum value) {
  for (const auto& [known, name] : names) {
    if (known == value) return name;
  }
  throw std::logic_error("unknown value");
}

// A place in a document, which knows its own path for error messages. Everything throws InputError where the document
// has something else there.
class Reader {
 public:
  Reader(const Json& value, std::string file, std::string path = "")
      : value_(value), file_(std::move(file)), path_(std::move(path)) {}

  Reader operator[](const char* key) const;  // null where the object has no such key
  Reader present(const char* key) const;     // the object has to have the key, if only with null
  bool is_null() const { return value_.is_null(); }
  const Json& raw() const { return value_; }

  std::string text() const;
  std::string text_or_empty() const { return is_null() ? "" : text(); }
  double real() const;
  Number real_or_null() const { return is_null() ? Number() : Number(real()); }
  double fraction() const;
  Number fraction_or_null() const { return is_null() ? Number() : Number(fraction()); }
  std::int64_t whole() const;
  bool boolean() const;
  Json object_or_empty() const { return value_.is_object() ? value_ : Json::object(); }
  std::vector<Reader> list() const;  // empty where there is null
  std::vector<Reader> list_that_is_there() const;
  std::pair<double, double> two() const;
  template <class Enum>
  Enum one_of(const Names<Enum>& names) const {
    for (const auto& [value, name] : names) {
      if (value_.is_string() && value_.get<std::string>() == name) return value;
    }
    std::string known;
    for (const auto& [value, name] : names) known += (known.empty() ? "" : ", ") + std::string(name);
    fail("has to be one of " + known);
  }
  [[noreturn]] void fail(const std::string& what) const;

 private:
  const Json& value_;
  std::string file_, path_;
};

std::optional<Rate> read_rate(const Reader& in);
std::optional<Confirmed> read_confirmed(const Reader& in);
std::optional<Membership> read_membership(const Reader& in);
Tool read_tool(const Reader& in);
DataFacts read_data(const Reader& in);
std::vector<std::string> read_texts(const Reader& in);

}  // namespace afterimage::json
