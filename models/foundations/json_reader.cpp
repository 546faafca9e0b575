#include "models/foundations/json_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>

#include "models/foundations/error.h"
#include "models/foundations/text.h"

namespace afterimage::json {

Reader Reader::operator[](const char* key) const {
  static const Json missing = nullptr;
  const auto found = find(key);
  return found ? *found : Reader(missing, place_of(key));
}

std::optional<Reader> Reader::find(const std::string& key) const {
  if (!value_.is_object()) fail("has to be an object");
  const auto found = value_.find(key);
  if (found == value_.end()) return std::nullopt;
  return Reader(*found, place_of(key));
}

Reader Reader::required(const char* key) const {
  const auto found = find(key);
  if (!found) Reader(value_, place_of(key)).fail("is missing");
  return *found;
}

std::vector<std::pair<std::string, Reader>> Reader::items() const {
  if (!value_.is_object()) fail("has to be an object");
  std::vector<std::pair<std::string, Reader>> all;
  for (const auto& [key, value] : value_.items()) all.emplace_back(key, Reader(value, place_of(key)));
  return all;
}

void Reader::require_keys_among(const std::vector<const char*>& known) const {
  for (const auto& [key, value] : items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      fail(fmt::format("has the unknown key \"{}\"; known are {}", printable(key), fmt::join(known, ", ")));
    }
  }
}

std::string Reader::text() const {
  if (!value_.is_string()) fail("has to be a string");
  return value_.get<std::string>();
}

double Reader::real() const {
  if (!value_.is_number()) fail("has to be a number");
  return value_.get<double>();
}

double Reader::fraction() const {
  if (!value_.is_number() || !(real() >= 0 && real() <= 1)) fail("has to be a fraction from 0 to 1");
  return real();
}

std::int64_t Reader::whole() const {
  if (!value_.is_number_integer()) fail("has to be a whole number");
  constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
  if (value_.is_number_unsigned() && value_.get<std::uint64_t>() > most) fail("is too large");
  return value_.get<std::int64_t>();
}

std::int64_t Reader::whole(std::int64_t low, std::int64_t high) const {
  if (!value_.is_number_integer() || value_ < low || value_ > high) {
    fail(fmt::format("has to be a whole number from {} to {}", low, high));
  }
  return value_.get<std::int64_t>();
}

bool Reader::boolean() const {
  if (!value_.is_boolean()) fail("has to be true or false");
  return value_.get<bool>();
}

Reader::List Reader::list() const {
  if (!value_.is_array()) fail("has to be a list");
  return {value_, list_place()};
}

Reader::List Reader::list_or_empty() const {
  if (!is_null()) return list();
  return {value_, list_place()};
}

std::pair<double, double> Reader::two() const {
  if (!value_.is_array() || value_.size() != 2) fail("has to be two numbers");
  const auto items = list();
  return {items[0].real(), items[1].real()};
}

void Reader::fail(const std::string& what) const {
  const std::string here = path();
  throw InputError(fmt::format("{}: {} {}", place_->file, here.empty() ? place_->root : printable(here), what));
}

std::string Reader::path() const { return item_ ? fmt::format("{}[{}]", place_->path, *item_) : place_->path; }

std::shared_ptr<const Reader::Place> Reader::place_of(const std::string& key) const {
  const std::string here = path();
  return std::make_shared<const Place>(Place{place_->file, place_->root, here.empty() ? key : here + "." + key});
}

std::shared_ptr<const Reader::Place> Reader::list_place() const {
  return item_ ? std::make_shared<const Place>(Place{place_->file, place_->root, path()}) : place_;
}

}  // namespace afterimage::json
