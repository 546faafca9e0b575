// What the pages share: numbers and rows as text, and scripts and data that are safe inside a page.
#pragma once

#include <kainjow/mustache.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "models/foundations/text.h"
#include "reports/report.h"

namespace afterimage::page {

using kainjow::mustache::data;

std::string number(const Number& value);
using afterimage::percent;
std::string percent(const Number& fraction);
std::string rate_text(const Rate& rate);

data row(const std::string& name, const std::string& value, const std::string& meaning = "");
data rows(const std::vector<data>& entries);
data texts(const std::vector<std::string>& lines);
std::string tool_text(const Tool& tool);

// Measured as its unit is shown: a percentage or a number.
std::string measured(const Number& value, Unit unit);
// A row for each figure; only for those that were measured.
template <class Owner, class Figures>
void add_rows(std::vector<data>& to, const Owner& owner, const Figures& figures) {
  for (const auto& figure : figures) {
    to.push_back(row(figure.name, measured(figure.of(owner), figure.unit), figure.meaning));
  }
}
template <class Owner, class Figures>
void add_known_rows(std::vector<data>& to, const Owner& owner, const Figures& figures) {
  for (const auto& figure : figures) {
    if (figure.of(owner)) to.push_back(row(figure.name, measured(figure.of(owner), figure.unit), figure.meaning));
  }
}

// The SHA-256 of a script as a content security policy names it.
std::string csp_hash(std::string_view script);
// A policy that lets a page run these scripts and nothing else, and fetch nothing.
std::string content_policy(const std::vector<std::string_view>& scripts);
// JSON that cannot end a script element or start a comment, whatever its strings hold.
std::string inert_json(const Json& document);

// A whole page: the parts that all pages share around `body`, with `script` (both are names of page files), and the
// document that it shows, which the script reads.
std::string render(data view, const std::string& title, std::string_view body, std::string_view script,
                   const Json& document);

}  // namespace afterimage::page
