#include "reports/json_reader.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "models/foundations/error.h"
#include "models/foundations/text.h"

namespace afterimage::json {

Reader Reader::operator[](const char* key) const {
  if (!value_.is_object()) fail("has to be an object");
  static const Json missing = nullptr;
  const auto found = value_.find(key);
  const std::string here = path();
  return {found == value_.end() ? missing : *found, place_->file, here.empty() ? key : here + "." + key};
}

Reader Reader::present(const char* key) const {
  const Reader found = (*this)[key];
  if (!value_.contains(key)) found.fail("is missing");
  return found;
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
  if (!(real() >= 0 && real() <= 1)) fail("has to be a fraction from 0 to 1");
  return real();
}

std::int64_t Reader::whole() const {
  if (!value_.is_number_integer()) fail("has to be a whole number");
  constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
  if (value_.is_number_unsigned() && value_.get<std::uint64_t>() > most) fail("is too large");
  return value_.get<std::int64_t>();
}

bool Reader::boolean() const {
  if (!value_.is_boolean()) fail("has to be true or false");
  return value_.get<bool>();
}

Reader::List Reader::list() const {
  if (!is_null() && !value_.is_array()) fail("has to be a list");
  return {value_, list_place()};
}

Reader::List Reader::list_that_is_there() const {
  if (is_null()) fail("has to be a list");
  return list();
}

std::pair<double, double> Reader::two() const {
  const auto items = list();
  if (items.size() != 2) fail("has to be two numbers");
  return {items[0].real(), items[1].real()};
}

void Reader::fail(const std::string& what) const {
  const std::string here = path();
  throw InputError(fmt::format("{}: {} {}", place_->file, here.empty() ? "the document" : printable(here), what));
}

std::string Reader::path() const { return item_ ? fmt::format("{}[{}]", place_->path, *item_) : place_->path; }

std::shared_ptr<const Reader::Place> Reader::list_place() const {
  return item_ ? std::make_shared<const Place>(Place{place_->file, path()}) : place_;
}

std::optional<Rate> read_rate(const Reader& in) {
  if (in.is_null()) return std::nullopt;
  const auto [low, high] = in["ci95"].two();
  const Rate rate{in["count"].whole(), in["of"].whole(), in["rate"].real(), low, high};
  if (rate.count < 0 || rate.of < 1 || rate.count > rate.of) in.fail("has to count from 0 up to all images");
  const double expected = static_cast<double>(rate.count) / static_cast<double>(rate.of);
  if (std::abs(rate.rate - expected) > 1e-9) in["rate"].fail("has to be count divided by of");
  if (!(0 <= low && low <= rate.rate && rate.rate <= high && high <= 1)) in["ci95"].fail("has to enclose the rate");
  return rate;
}

std::optional<Confirmed> read_confirmed(const Reader& in) {
  if (in.is_null()) return std::nullopt;
  return Confirmed{in["count"].whole(), in["right"].whole()};
}

std::optional<Membership> read_membership(const Reader& in) {
  if (in.is_null()) return std::nullopt;
  Membership membership{in["auc"].fraction(),
                        in["tpr_at_fpr_0_01"].fraction_or_null(),
                        in["tpr_at_fpr_0_001"].fraction_or_null(),
                        in["advantage"].fraction(),
                        {}};
  for (const auto& corner : in["roc"].list()) membership.roc.push_back(corner.two());
  return membership;
}

Tool read_tool(const Reader& in) {
  return {in["name"].text(),
          in["version"].text(),
          in["libtorch"].text(),
          in["device"].text(),
          static_cast<int>(in["threads"].whole()),
          in["seed"].whole(),
          in["command"].text()};
}

DataFacts read_data(const Reader& in) {
  return {in["source"].text(),           in["task"].text(),
          in["samples"].whole(),         in["dimension"].whole(),
          in["control_samples"].whole(), in["control_source"].text_or_empty()};
}

std::vector<std::string> read_texts(const Reader& in) {
  std::vector<std::string> texts;
  for (const auto& item : in.list()) texts.push_back(item.text());
  return texts;
}

}  // namespace afterimage::json
