// Reading JSON that comes in: places in a document that throw errors which name the file and the place.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "models/foundations/figure.h"
#include "models/foundations/json.h"

namespace afterimage::json {

// What the values of an enum are called in JSON; any range of such pairs will do.
template <class Enum>
using Names = std::vector<std::pair<Enum, const char*>>;

template <class NamesOfEnum, class Enum>
std::string name_in(const NamesOfEnum& names, Enum value) {
  for (const auto& [known, name] : names) {
    if (known == value) return name;
  }
  throw std::logic_error("unknown value");
}

// One place in a document. Every function throws InputError where the document holds something else there. Refers to
// the document, which has to outlive it.
class Reader {
 public:
  // `root`: what messages call the whole document.
  Reader(const Json& value, std::string file, std::string root = "the document")
      : Reader(value, std::make_shared<const Place>(Place{std::move(file), std::move(root), ""})) {}
  explicit Reader(Json&&, std::string, std::string = "") = delete;

  Reader operator[](const char* key) const;                   // null where the object has no such key
  Reader required(const char* key) const;                     // the object has to have the key, if only with null
  std::optional<Reader> find(const std::string& key) const;   // empty where the object has no such key
  std::vector<std::pair<std::string, Reader>> items() const;  // of an object, by key
  void require_keys_among(const std::vector<const char*>& known) const;  // of an object

  bool is_null() const { return value_.is_null(); }
  const Json& raw() const { return value_; }
  std::string text() const;
  std::string text_or_empty() const { return is_null() ? "" : text(); }
  double real() const;
  Number real_or_null() const { return is_null() ? Number() : Number(real()); }
  double fraction() const;
  Number fraction_or_null() const { return is_null() ? Number() : Number(fraction()); }
  std::int64_t whole() const;
  std::int64_t whole(std::int64_t low, std::int64_t high) const;  // both included
  bool boolean() const;
  Json object_or_empty() const { return value_.is_object() ? value_ : Json::object(); }
  // A range of readers, each made on access.
  class List;
  List list() const;
  List list_or_empty() const;  // empty where there is null
  std::pair<double, double> two() const;
  template <class NamesOfEnum>
  auto one_of(const NamesOfEnum& names) const {
    std::string known;
    for (const auto& [value, name] : names) {
      if (value_.is_string() && value_.get_ref<const std::string&>() == name) return value;
      known += (known.empty() ? "" : ", ") + std::string(name);
    }
    fail("has to be one of " + known);
  }

  // Throws InputError: the file, the place, and `what` is wrong with it.
  [[noreturn]] void fail(const std::string& what) const;

 private:
  // Items of a list, which may be many, share the list's place; their own text is made on demand.
  struct Place {
    std::string file, root, path;
  };
  Reader(const Json& value, std::shared_ptr<const Place> place, std::optional<std::size_t> item = std::nullopt)
      : value_(value), place_(std::move(place)), item_(item) {}
  std::string path() const;
  std::shared_ptr<const Place> place_of(const std::string& key) const;
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

}  // namespace afterimage::json
