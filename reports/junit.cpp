#include "reports/junit.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "reports/gated_weights.h"

namespace afterimage {
namespace {

// XML 1.0 has no way to write most control characters, U+FFFE and U+FFFF at all: they are dropped. A line feed or tab
// of an attribute would be read as a space.
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
      case '\n':
        safe += "&#10;";
        break;
      case '\t':
        safe += "&#9;";
        break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20) safe += c;
    }
  }
  return safe;
}

// The element of a rule that did not pass.
const char* element_of(Outcome outcome, Verdict inconclusive_as) {
  if (outcome == Outcome::fail) return "failure";
  return inconclusive_as == Verdict::pass ? "skipped" : "error";
}

std::string number_text(const Number& number) { return number ? fmt::format("{}", *number) : "none"; }

// The message again, for a service that shows the text alone, and what it is of. Escaped.
std::string text_of(const RuleResult& rule, const std::string& message, const GatedWeights& weights) {
  return fmt::format("{}\nmeasured: {}\nlimit: {}\nweights: {}{}SHA-256 {}", escaped(message),
                     number_text(rule.measured), number_text(rule.limit), escaped(weights.file),
                     weights.file.empty() ? "" : ", ", weights.digest);
}

std::string test_case(const RuleResult& rule, Verdict inconclusive_as, const GatedWeights& weights) {
  const std::string head = fmt::format("  <testcase classname=\"afterimage.{}\" name=\"{}\" time=\"0\"",
                                       weights.short_digest(), escaped(rule.rule));
  if (rule.outcome == Outcome::pass) return head + "/>\n";
  const char* element = element_of(rule.outcome, inconclusive_as);
  const std::string message = (rule.outcome == Outcome::inconclusive ? "Inconclusive: " : "") + rule.reason;
  return fmt::format("{}>\n    <{} type=\"{}\" message=\"{}\">{}</{}>\n  </testcase>\n", head, element,
                     name_of(rule.outcome), escaped(message), text_of(rule, message, weights), element);
}

}  // namespace

std::string to_junit(const Report& report) {
  const auto rules = report.gate ? report.gate->rules : std::vector<RuleResult>{};
  const Verdict inconclusive_as = report.gate ? inconclusive_counts_as(*report.gate) : Verdict::fail;
  const GatedWeights weights = gated_weights(report);
  const auto count = [&](Outcome outcome) {
    return std::count_if(rules.begin(), rules.end(), [&](const auto& rule) { return rule.outcome == outcome; });
  };
  const auto inconclusive = count(Outcome::inconclusive);
  const bool skips = inconclusive_as == Verdict::pass;
  // Judging a report takes no time; that of the audit is in the report.
  std::string xml = fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"afterimage\" tests=\"{}\" failures=\"{}\" "
      "errors=\"{}\" skipped=\"{}\" time=\"0\">\n",
      rules.size(), count(Outcome::fail), skips ? 0 : inconclusive, skips ? inconclusive : 0);
  xml += fmt::format(
      "  <properties>\n    <property name=\"weights\" value=\"{}\"/>\n"
      "    <property name=\"weights.sha256\" value=\"{}\"/>\n  </properties>\n",
      escaped(weights.file), weights.digest);
  for (const auto& rule : rules) xml += test_case(rule, inconclusive_as, weights);
  return xml + "</testsuite>\n";
}

}  // namespace afterimage
