// What the JSON of a report and that of a comparison share.
#pragma once

#include <string>

#include "reports/report.h"

namespace afterimage::json {

// JSON has no NaN or infinity: what could not be computed is null.
Json number(const Number& value);
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

}  // namespace afterimage::json
