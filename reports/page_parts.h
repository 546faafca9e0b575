// What the pages share: numbers and rows as text, and scripts and data that a page can carry safely.
#pragma once

#include <kainjow/mustache.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "reports/report.h"

namespace afterimage::page {

using kainjow::mustache::data;

std::string number(const Number& value);
std::string percent(double fraction);
std::string percent(const Number& fraction);
std::string rate_text(const Rate& rate);

data row(const std::string& name, const std::string& value, const std::string& meaning = "");
data rows(const std::vector<data>& entries);
data texts(const std::vector<std::string>& lines);

// The SHA-256 of a script as a content security policy names it.
std::string csp_hash(std::string_view script);
// A policy that lets a page run these scripts and nothing else, and fetch nothing.
std::string content_policy(const std::vector<std::string_view>& scripts);
// JSON that cannot end a script element or start a comment, whatever its strings hold.
std::string inert_json(const Json& document);

// A whole page: what all have around `body`, one of the page's files, which `script`, another, brings to life. It holds
// the document that it shows.
std::string render(data view, const std::string& title, std::string_view body, std::string_view script,
                   const Json& document);

}  // namespace afterimage::page
