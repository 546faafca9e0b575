// What the JSON of a report and that of a comparison share, written and read.
#pragma once

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "models/foundations/json_reader.h"
#include "reports/report.h"

namespace afterimage::json {

// JSON has no NaN or infinity: what could not be computed is null.
Json number(const Number& value);
Json numbers(const std::vector<double>& values);
// A name given on a command line may hold any bytes; JSON holds UTF-8 only.
std::string utf8(const std::string& text);

Json to_json(const Rate& rate);
Json to_json(const Confirmed& confirmed);
Json to_json(const Membership& membership);
Json to_json(const Tool& tool);
Json to_json(const DataFacts& data);

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? to_json(*value) : Json(nullptr);
}

std::optional<Rate> read_rate(const Reader& in);
std::optional<Confirmed> read_confirmed(const Reader& in);
std::optional<Membership> read_membership(const Reader& in);
Tool read_tool(const Reader& in);
DataFacts read_data(const Reader& in);
std::vector<std::string> read_texts(const Reader& in);
std::vector<double> read_numbers(const Reader& in);  // null is NaN

// The figures of `owner` under their keys, after what `document` holds already.
template <class Owner, class Figures>
void add_figures(Json& document, const Owner& owner, const Figures& figures) {
  for (const auto& figure : figures) document[figure.key] = number(figure.of(owner));
}

// Figures that are null or missing are empty. Throws InputError where one is no number, or out of its unit's range.
template <class Owner, class Figures>
void read_figures(const Reader& in, Owner& owner, const Figures& figures) {
  for (const auto& figure : figures) {
    const Reader value = in[figure.key];
    const bool missing = value.is_null() && figure.may_be_missing();
    figure.set(owner, missing ? Number() : figure.unit == Unit::number ? value.real() : value.fraction());
  }
}

}  // namespace afterimage::json
