#include "models/formats/csv.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <map>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>

#include "models/formats/csv_column.h"
#include "models/formats/time_stamp.h"
#include "models/foundations/error.h"
#include "models/foundations/files.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

constexpr std::uint64_t largest_file = std::uint64_t{1} << 32;
constexpr std::size_t most_fields = (1 << 18) + 1;  // of a line
constexpr std::size_t longest_label = 1000;
constexpr std::size_t most_sequences = 1 << 20;

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
  const std::string& file() const { return file_; }

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

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

bool is_any_of(const std::string& field, std::initializer_list<const char*> words) {
  constexpr std::size_t longest_word = 16;
  if (field.size() > longest_word) return false;
  return std::find(words.begin(), words.end(), lower(field)) != words.end();
}
bool is_label_word(const std::string& field) {
  return is_any_of(std::string(trimmed(field)), {"label", "labels", "class", "target"});
}
bool is_row_number_word(const std::string& field) { return is_any_of(field, {"", "id", "index", "unnamed: 0"}); }

// What each column is.
struct Layout {
  std::vector<std::string> first;  // line
  bool header = false, numbers_in_header = false;
  std::optional<std::size_t> label, sequence, time;
  std::vector<bool> dropped;
  std::size_t rows = 0;
  std::string label_reason;
  std::vector<std::string> dropped_reasons;

  std::vector<std::size_t> kept() const {
    std::vector<std::size_t> columns;
    for (std::size_t i = 0; i < first.size(); ++i) {
      if (!dropped[i]) columns.push_back(i);
    }
    return columns;
  }
  // Of the values; empty where there is no header.
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto column : kept()) {
      if (header && column != *label) names.push_back(printable(first[column]));
    }
    return names;
  }
  std::string name(std::size_t column) const {
    const bool named = header && !first[column].empty();
    return fmt::format("column {}{}", column + 1, named ? fmt::format(" \"{}\"", printable(first[column])) : "");
  }
  void drop(std::size_t column, const std::string& reason) {
    dropped[column] = true;
    dropped_reasons.push_back(fmt::format("{}, {}", name(column), reason));
  }
  std::vector<std::string> notes() const {
    std::vector<std::string> lines = {header ? "the first line is a header" : "there is no header",
                                      fmt::format("the label is {}, {}", name(*label), label_reason)};
    if (sequence) lines.push_back(fmt::format("the sequence is {}, the time {}", name(*sequence), name(*time)));
    for (const auto& reason : dropped_reasons) lines.push_back("left out: " + reason);
    return lines;
  }
};

bool is_number(const std::string& field) { return number_in_field(field).has_value(); }

// Whether the numbers in the line go up by one, as those of columns without names do.
bool numbers_columns(const std::vector<std::string>& line) {
  std::optional<double> previous;
  for (const auto& field : line) {
    const auto number = number_in_field(field);
    if (!number) continue;
    if (previous ? *number != *previous + 1 : *number != std::trunc(*number)) return false;
    previous = number;
  }
  return true;
}

// 0, 1, 2, ... over all columns, or all but an empty first one: what pandas writes for columns without names.
bool counts_columns(const std::vector<std::string>& line) {
  constexpr std::size_t fewest = 4;
  const std::size_t from = line.front().empty() ? 1 : 0;
  if (line.size() < from + fewest) return false;
  for (std::size_t i = from; i < line.size(); ++i) {
    if (number_in_field(line[i]) != static_cast<double>(i - from)) return false;
  }
  return true;
}

bool is_header(const std::vector<std::string>& line) {
  if (counts_columns(line)) return true;
  const auto is_text = [](const std::string& field) { return !field.empty() && !is_number(field); };
  const auto texts = std::count_if(line.begin(), line.end(), is_text);
  if (texts > 0 && std::none_of(line.begin(), line.end(), is_number)) return true;
  const bool names_label = std::any_of(line.begin(), line.end(), is_label_word);
  return names_label && (texts > 1 || numbers_columns(line));
}

// The number of a column as it is typed; nothing where it is a name.
std::optional<long> number_of_column(const std::string& asked) {
  long number = 0;
  const auto [end, error] = std::from_chars(asked.data(), asked.data() + asked.size(), number);
  if (error != std::errc() || end != asked.data() + asked.size()) return std::nullopt;
  return number;
}

// The column that `asked` is the number or name of. Throws UsageError.
std::size_t column_of(const std::string& asked, const char* option, const std::vector<std::string>& first,
                      const std::string& file) {
  const auto fail = [&](const std::string& what) {
    throw UsageError(fmt::format("{}: {}={}: {}", file, option, printable(asked), what));
  };
  if (const auto number = number_of_column(asked)) {
    const auto columns = static_cast<long>(first.size());
    if (*number != -1 && (*number < 1 || *number > columns)) {
      fail(fmt::format("the table has {} columns; give 1 to {}, -1 for the last, or a name", columns, columns));
    }
    return static_cast<std::size_t>(*number == -1 ? columns - 1 : *number - 1);
  }
  std::vector<std::size_t> same, alike;
  for (std::size_t i = 0; i < first.size(); ++i) {
    if (first[i] == asked) same.push_back(i);
    if (first[i].size() == asked.size() && lower(first[i]) == lower(asked)) alike.push_back(i);
  }
  const auto& found = same.empty() ? alike : same;
  if (found.empty()) fail("the first line names no such column; give a name in it, or the number of a column from 1");
  if (found.size() > 1) fail("the first line names two such columns; give the number of one, from 1");
  return found.front();
}

// What the options and the first line say of the columns.
Layout layout_of(const std::vector<std::string>& first, const CsvColumns& asked, const Lines& lines) {
  if (first.size() < 2) lines.fail("has one field; each line needs values and a label, separated by commas");
  Layout layout;
  layout.first = first;
  layout.dropped.assign(first.size(), false);
  const auto is_name = [](const std::string& column) { return !column.empty() && !number_of_column(column); };
  const auto any_number = std::any_of(first.begin(), first.end(), is_number);
  layout.header = is_header(first) || is_name(asked.label) || is_name(asked.sequence) || is_name(asked.time) ||
                  std::any_of(asked.drop.begin(), asked.drop.end(), is_name);
  layout.numbers_in_header = layout.header && any_number && !counts_columns(first);
  for (const auto& column : asked.drop) {
    const std::size_t place = column_of(column, "drop", first, lines.file());
    if (!layout.dropped[place]) layout.drop(place, "as asked for");
  }
  for (const auto& [name, option, place] :
       {std::tuple{&asked.sequence, "sequence", &layout.sequence}, std::tuple{&asked.time, "time", &layout.time}}) {
    if (name->empty()) continue;
    *place = column_of(*name, option, first, lines.file());
    if (layout.dropped[**place]) {
      throw UsageError(fmt::format("{}: {} is named twice, as {} and before; give each column one part", lines.file(),
                                   layout.name(**place), option));
    }
    layout.dropped[**place] = true;
  }
  if (!asked.label.empty()) {
    layout.label = column_of(asked.label, "label", first, lines.file());
    layout.label_reason = "as asked for";
    if (!layout.dropped[*layout.label]) return layout;
    throw UsageError(fmt::format("{}: {} is no value, and cannot be the label too; name another", lines.file(),
                                 layout.name(*layout.label)));
  }
  if (!layout.header) return layout;
  std::vector<std::size_t> named, named_y;
  const auto kept = layout.kept();
  for (const auto column : kept) {
    if (is_label_word(first[column])) named.push_back(column);
    const bool outer = column == kept.front() || column == kept.back();
    if (outer && is_any_of(first[column], {"y"}) && !any_number) named_y.push_back(column);
  }
  if (named.empty()) named = std::move(named_y);
  if (named.size() > 1) {
    lines.fail(fmt::format("names two columns that may be the label, {} and {}; say which, as in csv:FILE,label={}",
                           layout.name(named[0]), layout.name(named[1]), named[0] + 1));
  }
  if (named.empty()) return layout;
  layout.label = named.front();
  layout.label_reason = "as the header says";
  return layout;
}

// Which of the first and the last column is the label, where their values leave no doubt.
std::optional<std::size_t> label_by_values(const std::pair<const std::size_t, CsvColumn>& front,
                                           const std::pair<const std::size_t, CsvColumn>& back) {
  using Kind = CsvColumn::Kind;
  for (const auto& [one, other] : {std::pair{&back, &front}, std::pair{&front, &back}}) {
    const Kind kind = one->second.kind(), rest = other->second.kind();
    const bool unlike = rest == Kind::not_whole || rest == Kind::constant || rest == Kind::all_different;
    const bool only_text = one->second.has_text() && !other->second.has_text() && rest == Kind::unclear;
    if (kind == Kind::classes && (unlike || only_text)) return one->first;
    if (kind == Kind::constant && rest == Kind::not_whole) return one->first;
  }
  return std::nullopt;
}

InputError no_lines(const std::string& file) {
  return InputError(file + ": holds no lines of values; give one for each sample");
}

// The columns by which row numbers and the label are told: the first two that are kept, for the first may be a row
// number, the last, and the label where it is known.
struct Survey {
  std::vector<std::size_t> kept;
  std::map<std::size_t, CsvColumn> columns;

  explicit Survey(const Layout& layout) : kept(layout.kept()) {
    for (const auto place : {kept[0], kept[1], kept.back()}) columns.try_emplace(place);
    if (layout.label) columns.try_emplace(*layout.label);
  }
  void add(const std::vector<std::string>& fields) {
    for (auto& [place, column] : columns) column.add(fields[place]);
  }
};

void drop_row_numbers(Layout& layout, const Survey& survey) {
  if (survey.kept.front() != 0 || layout.label == std::size_t{0}) return;
  const CsvColumn& leading = survey.columns.at(0);
  const bool named = layout.header && is_row_number_word(layout.first.front());
  if (named ? leading.counts_up() || (leading.is_identity() && layout.rows > 1)
            : leading.counts_up() && !layout.header) {
    layout.drop(0, "a row number");
  }
}

void find_label(Layout& layout, const Survey& survey, const std::string& file) {
  const auto kept = layout.kept();
  const auto front = kept.front(), back = kept.back();
  const auto& columns = survey.columns;
  layout.label = label_by_values(*columns.find(front), *columns.find(back));
  layout.label_reason = "as the values of the first and last column say";
  if (layout.label) return;
  throw InputError(fmt::format(
      "{}: which column is the label is not certain: in {} lines, {} has {} and {} has {}; say which of "
      "all columns it is, by its name or number, as in csv:FILE,label={}",
      file, layout.rows, layout.name(front), columns.at(front).text(), layout.name(back), columns.at(back).text(),
      layout.header && !layout.first[back].empty() ? printable(layout.first[back]) : std::to_string(back + 1)));
}

// The same with what the lines hold, all of which have to have as many fields.
Layout surveyed(std::string_view text, const std::string& file, const CsvColumns& asked) {
  Lines lines(text, file);
  std::vector<std::string> fields;
  if (!lines.next(fields)) throw no_lines(file);
  Layout layout = layout_of(fields, asked, lines);
  if (layout.kept().size() < 2) throw UsageError(file + ": drop leaves out all values; leave out fewer columns");
  Survey survey(layout);
  if (layout.header && !lines.next(fields)) throw no_lines(file);
  do {
    if (fields.size() != layout.first.size()) {
      lines.fail(fmt::format("has {} fields where the first has {}", fields.size(), layout.first.size()));
    }
    survey.add(fields);
    ++layout.rows;
  } while (lines.next(fields));
  drop_row_numbers(layout, survey);
  if (layout.kept().size() < 2) {
    throw InputError(file + ": has no values beside a row number and a label; each line needs some");
  }
  if (!layout.label) find_label(layout, survey, file);
  if (!layout.header && survey.columns.at(*layout.label).only_first_is_text()) {
    throw InputError(
        fmt::format("{}: line 1 has the label \"{}\" where all others have numbers; if that is a header, name the "
                    "label column, as in csv:FILE,label=NAME",
                    file, printable(layout.first[*layout.label])));
  }
  return layout;
}

float value_in(const std::string& field, const std::string& column, std::size_t number, const Lines& lines) {
  const auto value = number_in_field(field);
  if (!value || !std::isfinite(*value)) {
    lines.fail(fmt::format(
        "has \"{}\" in place of a number in {}; say csv:FILE,label={} if that is the label, encode text and gaps as "
        "numbers, or leave it out, as in csv:FILE,drop={}",
        printable(field), column, number, number));
  }
  return static_cast<float>(*value);
}

void require_label(const std::string& label, const Layout& layout, const Lines& lines) {
  if (label.empty()) lines.fail("has no label");
  if (label.size() > longest_label) lines.fail("has a label of more than a thousand characters");
  if (layout.numbers_in_header && label == layout.first[*layout.label]) {
    lines.fail(fmt::format("has the label \"{}\", as the first line, which was taken for a header; add a header",
                           printable(label)));
  }
}

void add_step(const std::vector<std::string>& fields, const Layout& layout,
              std::map<std::string, std::uint32_t>& sequences, CsvTable& table, const Lines& lines) {
  const std::string &sequence = fields[*layout.sequence], &stamp = fields[*layout.time];
  if (sequence.empty()) lines.fail(fmt::format("has nothing in {}, the sequence", layout.name(*layout.sequence)));
  if (sequence.size() > longest_label) lines.fail("has a sequence of more than a thousand characters");
  const auto time = time_in(stamp);
  if (!time || (!table.times.empty() && time->is_date != table.has_dates)) {
    lines.fail(
        fmt::format("has \"{}\" in {}, the time; give numbers on all lines, or dates as 2024-01-31T10:20:30 on all",
                    printable(stamp), layout.name(*layout.time)));
  }
  const auto [place, added] = sequences.try_emplace(sequence, static_cast<std::uint32_t>(table.sequences.size()));
  if (added && table.sequences.size() == most_sequences) {
    lines.fail(fmt::format("has a sequence too many; a file may have {}", most_sequences));
  }
  if (added) table.sequences.push_back(sequence);
  table.sequence.push_back(place->second);
  table.times.push_back(time->time);
  table.has_dates = time->is_date;
}

}  // namespace

CsvTable read_csv(const std::filesystem::path& path, const CsvColumns& columns) {
  const std::string file = path.string(), text = read_file(path, largest_file);
  if (columns.sequence.empty() != columns.time.empty()) {
    throw UsageError(fmt::format("{}: sequence=COLUMN and time=COLUMN go together; give both", file));
  }
  const Layout layout = surveyed(text, file, columns);
  const std::size_t values = layout.kept().size() - 1;
  CsvTable table;
  table.notes = layout.notes();
  table.columns = layout.names();
  table.values = {DType::f32, {static_cast<std::int64_t>(layout.rows), static_cast<std::int64_t>(values)}, {}};
  table.values.bytes.resize(layout.rows * values * sizeof(float));  // at most twice the file: a value takes two bytes
  table.label.reserve(layout.rows);
  std::byte* to = table.values.bytes.data();
  std::map<std::string, std::uint32_t> places, sequences;
  Lines lines(text, file);
  std::vector<std::string> fields;
  if (layout.header) lines.next(fields);
  while (lines.next(fields)) {
    for (std::size_t i = 0; i < fields.size(); ++i) {
      if (i == *layout.label || layout.dropped[i]) continue;
      const float value = value_in(fields[i], layout.name(i), i + 1, lines);
      std::memcpy(to, &value, sizeof value);
      to += sizeof value;
    }
    const std::string& label = fields[*layout.label];
    require_label(label, layout, lines);
    const auto [place, added] = places.try_emplace(label, static_cast<std::uint32_t>(table.labels.size()));
    if (added && table.labels.size() == most_csv_labels) {
      lines.fail(fmt::format("has a label too many; a file may have {} different ones", most_csv_labels));
    }
    if (added) table.labels.push_back(label);
    table.label.push_back(place->second);
    if (layout.sequence) add_step(fields, layout, sequences, table, lines);
  }
  return table;
}

}  // namespace afterimage
