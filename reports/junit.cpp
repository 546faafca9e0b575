#include "reports/junit.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace afterimage {
namespace {

// XML 1.0 has no way to write most control characters, U+FFFE and U+FFFF at all: they are dropped.
std::string escaped(const std::string& text) {
  std::string safe;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::string_view here = std::string_view(text).substr(i, 3);
    if (here == "\xEF\xBF\xBE" || here == "\xEF\xBF\xBF") {
      i += 2;
      continue;
    }
    const char c = text[i];
    switch (c) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t') safe += c;
    }
  }
  return safe;
}

std::string test_case(const RuleResult& rule) {
  const std::string head = fmt::format("  <testcase classname=\"afterimage\" name=\"{}\"", escaped(rule.rule));
  if (rule.outcome == Outcome::pass) return head + "/>\n";
  const char* element = rule.outcome == Outcome::fail ? "failure" : "error";
  return fmt::format("{}>\n    <{} message=\"{}\"/>\n  </testcase>\n", head, element, escaped(rule.reason));
}

}  // namespace

std::string to_junit(const Report& report) {
  const auto rules = report.gate ? report.gate->rules : std::vector<RuleResult>{};
  const auto count = [&](Outcome outcome) {
    return std::count_if(rules.begin(), rules.end(), [&](const auto& rule) { return rule.outcome == outcome; });
  };
  std::string xml = fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"afterimage\" tests=\"{}\" failures=\"{}\" "
      "errors=\"{}\">\n",
      rules.size(), count(Outcome::fail), count(Outcome::inconclusive));
  for (const auto& rule : rules) xml += test_case(rule);
  return xml + "</testsuite>\n";
}

}  // namespace afterimage
