#include "reports/wording.h"

#include <array>
#include <cctype>
#include <utility>

namespace afterimage {
namespace {

using Words = std::pair<const char*, const char*>;
// Plurals first: each is looked for as a whole word.
constexpr std::array<Words, 8> of_records = {Words{"images", "records"}, {"image", "record"},   {"Images", "Records"},
                                             {"Image", "Record"},        {"pixels", "columns"}, {"pixel", "column"},
                                             {"Pixels", "Columns"},      {"Pixel", "Column"}};

bool is_of_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '/' || c == '"'; }

// Whether text[begin, end) is a word, and no part of the name of a file ("image.npz"), option ("--image") or array.
bool is_word(const std::string& text, std::size_t begin, std::size_t end) {
  if (begin > 0 && (is_of_name(text[begin - 1]) || text[begin - 1] == '.' || text[begin - 1] == '-')) return false;
  if (end == text.size()) return true;
  const bool goes_on = end + 1 < text.size() && is_of_name(text[end + 1]);
  return !is_of_name(text[end]) && !((text[end] == '.' || text[end] == '-') && goes_on);
}

void replace(std::string& text, const Words& words) {
  const std::string from = words.first, to = words.second;
  for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at)) {
    if (is_word(text, at, at + from.size())) {
      text.replace(at, from.size(), to);
      at += to.size();
    } else {
      at += from.size();
    }
  }
}

void word(const DataFacts& data, Json& evidence) {
  if (evidence.is_string()) evidence = worded(data, evidence.get<std::string>());
  if (!evidence.is_structured()) return;
  for (auto& part : evidence) word(data, part);
}

}  // namespace

std::string worded(const DataFacts& data, std::string text) {
  if (data.kind != InputKind::record) return text;
  replace(text, {"an image", "a record"});
  for (const auto& words : of_records) replace(text, words);
  return text;
}

std::vector<std::string> worded(const DataFacts& data, std::vector<std::string> texts) {
  for (auto& text : texts) text = worded(data, std::move(text));
  return texts;
}

void word(const DataFacts& data, Finding& finding) {
  finding.reason = worded(data, std::move(finding.reason));
  word(data, finding.evidence);
}

void word(Report& report) {
  const DataFacts& data = report.data;
  for (auto& finding : report.findings) word(data, finding);
  report.deviation.reason = worded(data, std::move(report.deviation.reason));
  if (report.exposure) report.exposure->reason = worded(data, std::move(report.exposure->reason));
  report.limitations = worded(data, std::move(report.limitations));
  report.threat_model.knows = worded(data, std::move(report.threat_model.knows));
  report.threat_model.does_not_know = worded(data, std::move(report.threat_model.does_not_know));
}

}  // namespace afterimage
