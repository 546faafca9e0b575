#include "reports/record_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace afterimage::page {
namespace {

using kainjow::mustache::data;

constexpr double visible = 0.02;  // of the range of values, from 0 to 1
constexpr const char* separators = "_=:.- ";

// What all names begin with, up to and with its last separator.
std::string common_part(const std::vector<std::string>& names) {
  std::size_t length = names.front().size();
  for (const auto& name : names) {
    length = std::min(length, name.size());
    const auto end = std::mismatch(name.begin(), name.begin() + static_cast<std::ptrdiff_t>(length), names[0].begin());
    length = static_cast<std::size_t>(end.first - name.begin());
  }
  const std::string common = names.front().substr(0, length);
  return common.substr(0, common.find_last_of(separators) + 1);
}

}  // namespace

RecordTable::RecordTable(const DataFacts& facts) : data_(facts) {}

bool RecordTable::fits(const Sample& sample) const {
  return data_.kind == InputKind::record && static_cast<std::int64_t>(sample.original.size()) == data_.dimension &&
         (sample.reconstruction.empty() || sample.reconstruction.size() == sample.original.size());
}

std::string RecordTable::name_of(std::size_t column) const {
  return data_.columns.empty() ? std::to_string(column + 1) : data_.columns[column];
}

// "colour_red" and "colour_blue" are red and blue of colour.
RecordTable::Column RecordTable::of_levels(std::size_t first, std::size_t count) const {
  Column column{"", first};
  for (std::size_t i = first; i < first + count; ++i) column.levels.push_back(name_of(i));
  const std::string common = common_part(column.levels);
  const auto end = common.find_last_not_of(separators);
  if (end == std::string::npos) {
    column.heading = fmt::format("{} to {}", name_of(first), name_of(first + count - 1));
    return column;
  }
  column.heading = common.substr(0, end + 1);
  for (auto& level : column.levels) level = level.substr(common.size());
  return column;
}

std::vector<RecordTable::Column> RecordTable::columns() const {
  std::vector<Column> columns;
  const std::vector<std::int64_t> each_alone(data_.one_hot.empty() ? static_cast<std::size_t>(data_.dimension) : 0, 1);
  std::size_t first = 0;
  for (const auto size : data_.one_hot.empty() ? each_alone : data_.one_hot) {
    const auto count = static_cast<std::size_t>(size);
    columns.push_back(count == 1 ? Column{name_of(first), first} : of_levels(first, count));
    first += count;
  }
  return columns;
}

data RecordTable::headings() const {
  data list{data::type::list};
  for (const auto& column : columns()) {
    data heading;
    heading.set("text", column.heading);
    list.push_back(heading);
  }
  return list;
}

std::string RecordTable::text_in(const Column& column, const std::vector<double>& values) {
  if (column.levels.empty()) return fmt::format("{:.4g}", values[column.first]);
  const auto begin = values.begin() + static_cast<std::ptrdiff_t>(column.first);
  const auto largest = std::max_element(begin, begin + static_cast<std::ptrdiff_t>(column.levels.size()));
  return column.levels[static_cast<std::size_t>(largest - begin)];
}

data RecordTable::cells(const std::vector<double>& values, const std::vector<double>& original) const {
  data list{data::type::list};
  for (const auto& column : columns()) {
    data cell;
    const std::string text = text_in(column, values);
    cell.set("text", text);
    cell.set("differs", column.levels.empty() ? std::abs(values[column.first] - original[column.first]) > visible
                                              : text != text_in(column, original));
    list.push_back(cell);
  }
  return list;
}

data RecordTable::row(const Sample& sample) const {
  data entry;
  entry.set("index", std::to_string(sample.index));
  entry.set("label", sample.label);
  entry.set("distance", sample.relative_distance ? fmt::format("{:.3f}", *sample.relative_distance) : "none");
  entry.set("exposed", sample.reconstructed);
  entry.set("original", cells(sample.original, sample.original));
  entry.set("has_reconstruction", !sample.reconstruction.empty());
  if (!sample.reconstruction.empty()) entry.set("reconstruction", cells(sample.reconstruction, sample.original));
  return entry;
}

}  // namespace afterimage::page
