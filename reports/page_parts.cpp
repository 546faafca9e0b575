#include "reports/page_parts.h"

#include <fmt/format.h>

#include "models/foundations/files.h"
#include "reports/page_files.h"

namespace afterimage::page {

std::string number(const Number& value) { return value ? fmt::format("{:.4g}", *value) : "not measured"; }
std::string percent(const Number& fraction) { return fraction ? percent(*fraction) : "not measured"; }

std::string measured(const Number& value, Unit unit) { return unit == Unit::fraction ? percent(value) : number(value); }

std::string rate_text(const Rate& rate) {
  return fmt::format("{} of {} ({}; 95 % interval {} to {})", rate.count, rate.of, percent(rate.rate),
                     percent(rate.ci95_low), percent(rate.ci95_high));
}

data row(const std::string& name, const std::string& value, const std::string& meaning) {
  data entry;
  entry.set("name", name);
  entry.set("value", value);
  entry.set("meaning", meaning);
  return entry;
}

data rows(const std::vector<data>& entries) {
  data all{data::type::list};
  for (const auto& entry : entries) all.push_back(entry);
  return all;
}

data texts(const std::vector<std::string>& lines) {
  data all{data::type::list};
  for (const auto& line : lines) {
    data entry;
    entry.set("text", line);
    all.push_back(entry);
  }
  return all;
}

std::string tool_text(const Tool& tool) {
  return fmt::format("{} {} with LibTorch {} on {}, {} threads", tool.name, tool.version, tool.libtorch, tool.device,
                     tool.threads);
}

std::string csp_hash(std::string_view script) {
  const std::string hex = sha256_of(script);
  std::string raw;
  for (std::size_t i = 0; i < hex.size(); i += 2) raw += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return "'sha256-" + base64(raw) + "'";
}

std::string inert_json(const Json& document) {
  std::string safe;
  for (const char c : document.dump(-1, ' ', true, Json::error_handler_t::replace)) {
    switch (c) {
      case '<':
        safe += "\\u003c";
        break;
      case '>':
        safe += "\\u003e";
        break;
      case '&':
        safe += "\\u0026";
        break;
      default:
        safe += c;
    }
  }
  return safe;
}

std::string content_policy(const std::vector<std::string_view>& scripts) {
  std::string policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src";
  for (const auto script : scripts) policy += " " + csp_hash(script);
  return policy;
}

std::string render(data view, const std::string& title, std::string_view body, std::string_view script,
                   const Json& document) {
  const std::string chart_library(page_file("chart.min.js")), code(page_file(script));
  view.set("title", title);
  view.set("csp", content_policy({chart_library, code}));
  view.set("style", std::string(page_file("style.css")));
  view.set("chart_library", chart_library);
  view.set("script", code);
  view.set("json", inert_json(document));
  std::string text;
  for (const auto part : {std::string_view("head.html"), body, std::string_view("foot.html")}) text += page_file(part);
  kainjow::mustache::mustache page{text};
  return page.render(view);
}

}  // namespace afterimage::page
