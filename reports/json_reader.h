// Reading what json_parts.h writes: places in a document, and the parts that a report and a comparison share.
#pragma once

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "reports/report.h"

namespace afterimage::json {

template <class Enum>
using Names = std::vector<std::pair<Enum, const char*>>;

inline const Names<Status> statuses(status_names.begin(), status_names.end());

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
      : Reader(value, std::make_shared<const Place>(Place{std::move(file), std::move(path)})) {}

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
  // A range of readers, each made where it is asked for; empty where there is null.
  class List;
  List list() const;
  List list_that_is_there() const;
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
  // Of a list's items, which may be many, the list's own is kept, and the text made where it is asked for.
  struct Place {
    std::string file, path;
  };
  Reader(const Json& value, std::shared_ptr<const Place> place, std::optional<std::size_t> item = std::nullopt)
      : value_(value), place_(std::move(place)), item_(item) {}
  std::string path() const;
  std::shared_ptr<const Place> list_place() const;

  const Json& value_;
  std::shared_ptr<const Place> place_;
  std::optional<std::size_t> item_;  // which of the list at `place_`
};

class Reader::List {
 public:
  class Iterator {
   public:
    Iterator(const List& list, std::size_t item) : list_(list), item_(item) {}
    Reader operator*() const { return list_[item_]; }
    Iterator& operator++() {
      ++item_;
      return *this;
    }
    bool operator!=(const Iterator& other) const { return item_ != other.item_; }

   private:
    const List& list_;
    std::size_t item_;
  };

  std::size_t size() const { return value_.size(); }
  Reader operator[](std::size_t item) const { return {value_[item], place_, item}; }
  Iterator begin() const { return {*this, 0}; }
  Iterator end() const { return {*this, size()}; }

 private:
  friend class Reader;
  List(const Json& value, std::shared_ptr<const Place> place) : value_(value), place_(std::move(place)) {}

  const Json& value_;
  std::shared_ptr<const Place> place_;
};

std::optional<Rate> read_rate(const Reader& in);
std::optional<Confirmed> read_confirmed(const Reader& in);
std::optional<Membership> read_membership(const Reader& in);
Tool read_tool(const Reader& in);
DataFacts read_data(const Reader& in);
std::vector<std::string> read_texts(const Reader& in);

}  // namespace afterimage::json
