#include "models/formats/csv.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <string_view>

#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

constexpr std::uint64_t largest_file = std::uint64_t{1} << 32;
constexpr std::size_t most_fields = (1 << 18) + 1;  // of a line
constexpr std::size_t most_labels = 65536, longest_label = 1000;

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// The fields of lines, one line after the other; blank lines are skipped. A field may be quoted, with quotes in it
// doubled; it ends on its own line.
class Lines {
 public:
  Lines(std::string_view rest, std::string file) : rest_(rest), file_(std::move(file)) {
    if (rest_.starts_with("\xef\xbb\xbf")) rest_.remove_prefix(3);  // byte order mark of UTF-8
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
      if (fields.size() == most_fields) fail(fmt::format("has more than {} fields; give fewer columns", most_fields));
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

std::optional<double> number_in_field(std::string_view text) {
  text = trimmed(text);
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  return number_in(text);
}

// Where the label is, by the first line; and whether that is a header: it names a label, or its values are text with no
// number among them. An empty or text field beside numbers is an error in the first sample.
struct Layout {
  std::size_t columns, label;
  bool header;
};

Layout layout_of(const std::vector<std::string>& first, const Lines& lines) {
  if (first.size() < 2) lines.fail("has one field; each line needs values and a label, separated by commas");
  const auto named = std::find(first.begin(), first.end(), "label"), values_end = first.end() - 1;
  const bool has_number =
      std::any_of(first.begin(), values_end, [](const auto& field) { return number_in_field(field).has_value(); });
  const bool has_text = std::any_of(first.begin(), values_end, [](const auto& field) { return !field.empty(); });
  Layout layout{first.size(), first.size() - 1, named != first.end() || (has_text && !has_number)};
  if (named == first.end()) return layout;
  if (std::find(named + 1, first.end(), "label") != first.end()) lines.fail("names two columns label; rename one");
  layout.label = static_cast<std::size_t>(named - first.begin());
  return layout;
}

// The values and the label of each line, one line after the other.
class Rows {
 public:
  Rows(std::string_view text, const std::string& file) : lines_(text, file) {}

  // False at the end.
  bool next() {
    if (!lines_.next(fields_)) return false;
    if (!layout_) {
      layout_ = layout_of(fields_, lines_);
      if (layout_->header && !lines_.next(fields_)) return false;
    }
    if (fields_.size() != layout_->columns) {
      lines_.fail(fmt::format("has {} fields where the first has {}", fields_.size(), layout_->columns));
    }
    values_.clear();
    for (std::size_t i = 0; i < fields_.size(); ++i) {
      if (i != layout_->label) values_.push_back(value_in(fields_[i]));
    }
    if (label().empty()) lines_.fail("has no label");
    if (label().size() > longest_label) lines_.fail("has a label of more than a thousand characters");
    return true;
  }
  const std::vector<float>& values() const { return values_; }
  const std::string& label() const { return fields_[layout_->label]; }
  [[noreturn]] void fail(const std::string& what) const { lines_.fail(what); }

 private:
  float value_in(const std::string& field) const {
    const auto value = number_in_field(field);
    if (!value || !std::isfinite(*value)) {
      lines_.fail(
          fmt::format("has \"{}\" in place of a number; encode text and gaps as numbers first", printable(field)));
    }
    return static_cast<float>(*value);
  }

  Lines lines_;
  std::vector<std::string> fields_;
  std::optional<Layout> layout_;
  std::vector<float> values_;
};

}  // namespace

CsvTable read_csv(const std::filesystem::path& path) {
  const std::string file = path.string(), text = read_file(path, largest_file);
  CsvTable table;
  std::map<std::string, std::uint32_t> places;
  std::size_t count = 0;
  Rows checked(text, file);  // all lines are checked before any is kept
  for (; checked.next(); ++count) {
    const auto [place, added] = places.try_emplace(checked.label(), static_cast<std::uint32_t>(table.labels.size()));
    if (!added) continue;
    if (table.labels.size() == most_labels) {
      checked.fail(fmt::format("has a label too many; a file may have {} different ones", most_labels));
    }
    table.labels.push_back(checked.label());
  }
  if (count == 0) throw InputError(file + ": holds no lines of values; give one for each sample");
  const std::size_t columns = checked.values().size();
  table.values = {DType::f32, {static_cast<std::int64_t>(count), static_cast<std::int64_t>(columns)}, {}};
  table.values.bytes.resize(count * columns * sizeof(float));
  table.label.reserve(count);
  std::byte* to = table.values.bytes.data();
  for (Rows rows(text, file); rows.next(); to += columns * sizeof(float)) {
    std::memcpy(to, rows.values().data(), columns * sizeof(float));
    table.label.push_back(places.at(rows.label()));
  }
  return table;
}

}  // namespace afterimage
