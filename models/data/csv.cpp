#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>

#include "models/base/error.h"
#include "models/base/files.h"
#include "models/base/text.h"
#include "models/data/sources.h"

namespace afterimage {
namespace {

constexpr std::uint64_t largest_file = std::uint64_t{1} << 32;

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// The fields of lines, one line after the other; blank lines are passed over. A field may stand in quotes, with quotes
// in it doubled; it ends on its own line.
class Lines {
 public:
  Lines(std::string_view rest, std::string file) : rest_(rest), file_(std::move(file)) {
    if (rest_.starts_with("\xef\xbb\xbf")) rest_.remove_prefix(3);  // the mark that some programs put before UTF-8
  }

  // False at the end. Fields are text between commas, without spaces around it.
  bool next(std::vector<std::string>& fields) {
    while (!rest_.empty()) {
      const std::size_t end = rest_.find('\n');
      std::string_view line = rest_.substr(0, end);
      rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
      ++number_;
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (trimmed(line).empty()) continue;
      split(line, fields);
      return true;
    }
    return false;
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw InputError(fmt::format("{}: line {} {}", file_, number_, what));
  }

 private:
  void split(std::string_view line, std::vector<std::string>& fields) const {
    fields.clear();
    for (;;) {
      line = trimmed(line);
      fields.push_back(line.starts_with('"') ? quoted(line) : plain(line));
      line = trimmed(line);
      if (line.empty()) return;
      if (line.front() != ',') fail("has text after a quoted field; separate fields by commas");
      line.remove_prefix(1);
    }
  }

  static std::string plain(std::string_view& line) {
    const std::string_view field = line.substr(0, line.find(','));
    line.remove_prefix(field.size());
    return std::string(trimmed(field));
  }

  std::string quoted(std::string_view& line) const {
    std::string field;
    for (line.remove_prefix(1); !line.empty(); line.remove_prefix(1)) {
      if (line.front() == '"') {
        line.remove_prefix(1);
        if (!line.starts_with('"')) return field;
      }
      field += line.front();
    }
    fail("ends inside a quoted field; close the quote");
  }

  std::string_view rest_;
  std::string file_;
  std::size_t number_ = 0;
};

std::optional<double> number_in(std::string_view text) {
  text = trimmed(text);
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);

  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Where the label is, by the first line; and whether that is a header: it names a label, or a value is no number.
struct Layout {
  std::size_t columns, label;
  bool header;
};

Layout layout_of(const std::vector<std::string>& first, const Lines& lines) {
  if (first.size() < 2) lines.fail("has one field; each line needs values and a label, separated by commas");
  Layout layout{first.size(), first.size() - 1, false};
  const auto named = std::find(first.begin(), first.end(), "label");
  layout.header = named != first.end();
  for (std::size_t i = 0; i + 1 < first.size(); ++i) layout.header = layout.header || !number_in(first[i]);
  if (named == first.end()) return layout;
  if (std::find(named + 1, first.end(), "label") != first.end()) lines.fail("names two columns label; rename one");
  layout.label = static_cast<std::size_t>(named - first.begin());
  return layout;
}

Tensor in_range(Tensor values, const std::string& file) {
  const float low = values.min().item<float>(), high = values.max().item<float>();
  if (low >= 0 && high <= 1) return values;
  if (low >= 0 && high <= 255 && at::equal(values, values.round())) return values.div_(255);
  throw InputError(
      fmt::format("{}: values go from {:.3g} to {:.3g}; scale each column to [0, 1], as by (x - min) / (max - min)",
                  file, low, high));
}

}  // namespace

LabelledImages load_csv(const std::string& file) {
  const std::string text = read_file(file, largest_file);
  Lines lines(text, file);
  std::vector<std::string> fields, labels;
  std::optional<Layout> layout;
  std::vector<float> values;
  while (lines.next(fields)) {
    if (!layout) {
      layout = layout_of(fields, lines);
      if (layout->header) continue;
    }
    if (fields.size() != layout->columns) {
      lines.fail(fmt::format("has {} fields where the first has {}", fields.size(), layout->columns));
    }
    for (std::size_t i = 0; i < fields.size(); ++i) {
      if (i == layout->label) continue;
      const auto value = number_in(fields[i]);
      if (!value || !std::isfinite(*value)) {
        lines.fail(fmt::format("has \"{}\" where a number belongs; encode text and gaps as numbers first",
                               printable(fields[i])));
      }
      values.push_back(static_cast<float>(*value));
    }
    labels.push_back(fields[layout->label]);
    if (labels.back().empty()) lines.fail("has no label");
  }
  if (labels.empty()) throw InputError(file + ": holds no lines of values; give one for each sample");
  LabelledImages loaded;
  loaded.files = {file};
  const auto count = static_cast<std::int64_t>(labels.size());
  loaded.images = in_range(at::tensor(values, at::kFloat).reshape({count, -1}), file);
  loaded.labels = at::tensor(classes_of(labels, file), at::kLong);
  return loaded;
}

}  // namespace afterimage
