#include "models/formats/csv.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>

#include "models/data/sequences.h"
#include "models/data/sources.h"
#include "models/foundations/error.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

struct TableSource {
  std::string file;
  CsvColumns columns;
};

bool is_file(const std::string& name) {
  std::error_code ignored;
  return std::filesystem::exists(name, ignored);
}

// The parts of "a/b".
std::vector<std::string> parts_of(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0, end = 0; end != std::string::npos; begin = end + 1) {
    end = text.find('/', begin);
    parts.push_back(text.substr(begin, end == std::string::npos ? end : end - begin));
  }
  return parts;
}

// Takes an option off the end of the file's name. False where there is none, or a second of its kind.
bool take_option(TableSource& source) {
  const auto comma = source.file.rfind(',');
  const auto equals = comma == std::string::npos ? comma : source.file.find('=', comma);
  if (equals == std::string::npos) return false;
  const std::string name = source.file.substr(comma + 1, equals - comma - 1), value = source.file.substr(equals + 1);
  auto& columns = source.columns;
  if (value.empty()) return false;
  if (name == "drop") {
    const auto parts = parts_of(value);
    if (!columns.drop.empty() || std::count(parts.begin(), parts.end(), "") > 0) return false;
    columns.drop = parts;
  } else if (name == "longest") {
    const auto longest = number_in(value);
    if (columns.longest != 0 || !longest || !(*longest > 0) || !std::isfinite(*longest)) return false;
    columns.longest = *longest;
  } else {
    std::string* column = name == "label"      ? &columns.label
                          : name == "sequence" ? &columns.sequence
                          : name == "time"     ? &columns.time
                                               : nullptr;
    if (column == nullptr || !column->empty()) return false;
    *column = value;
  }
  source.file.resize(comma);
  return true;
}

// FILE and options of csv:, in any order.
TableSource table_source(const std::string& where) {
  TableSource source{where, {}};
  while (!is_file(source.file) && take_option(source)) {
  }
  const auto comma = source.file.find(',');
  if (comma != std::string::npos && !is_file(source.file) && is_file(source.file.substr(0, comma))) {
    throw UsageError(fmt::format(
        "data \"csv:{}\": after the file come label=COLUMN, drop=COLUMN/COLUMN, sequence=COLUMN, time=COLUMN and "
        "longest=NUMBER above zero, once each",
        printable(where)));
  }
  return source;
}

Tensor in_range(Tensor values, const std::string& file, std::vector<std::string>& notes) {
  const float low = values.min().item<float>(), high = values.max().item<float>();
  if (low >= 0 && high <= 1) return values;
  if (low >= 0 && high <= 255 && at::equal(values, values.round())) {
    notes.push_back(fmt::format("values are whole numbers up to {:.0f}, and are divided by 255", high));
    return values.div_(255);
  }
  throw InputError(
      fmt::format("{}: values go from {:.3g} to {:.3g}; scale each column to [0, 1], as by (x - min) / (max - min), or "
                  "leave columns out, as in csv:FILE,drop=COLUMN",
                  file, low, high));
}

// Text among numbers that is a mark of something missing is no class: all others would get other numbers.
void require_names(const std::vector<std::string>& labels, const std::string& text, const std::string& file) {
  const std::string lower_case = [&] {
    std::string lower = text;
    for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return lower;
  }();
  const bool mark = lower_case == "na" || lower_case == "n/a" || lower_case == "nan" || lower_case == "null" ||
                    lower_case == "none" || lower_case == "?" || lower_case == "-" || lower_case == "inf";
  const bool numbers = std::any_of(labels.begin(), labels.end(), [](const auto& label) { return number_in(label); });
  if (!mark || !numbers) return;
  throw InputError(
      fmt::format("{}: has the label \"{}\" among numbers; leave out lines without a class", file, printable(text)));
}

// Labels that are all numbers have to be whole: "2.0" is "2".
std::vector<std::string> names_of(const std::vector<std::string>& labels, const std::string& file) {
  constexpr double largest_exact = 1e15;
  std::vector<std::string> names;
  std::optional<double> broken;
  for (const auto& label : labels) {
    const auto value = number_in(label.starts_with('+') ? std::string_view(label).substr(1) : label);
    if (!value || !std::isfinite(*value)) {
      require_names(labels, label, file);
      return labels;
    }
    if (*value != std::trunc(*value)) broken = value;
    names.push_back(std::abs(*value) < largest_exact ? fmt::format("{:.0f}", *value == 0 ? 0.0 : *value) : label);
  }
  if (!broken) return names;
  throw InputError(
      fmt::format("{}: has the label {}, and classes are whole numbers or names; give their column, as in "
                  "csv:FILE,label=COLUMN",
                  file, *broken));
}

// Samples with these of the table's labels, without values yet.
LabelledImages labelled(const CsvTable& table, const std::vector<std::uint32_t>& label, const std::string& file) {
  NamedClasses classes = classes_of(names_of(table.labels, file), file);
  std::vector<std::int64_t> labels;
  labels.reserve(label.size());
  for (const auto place : label) labels.push_back(classes.of[place]);
  LabelledImages loaded;
  loaded.files = {file};
  loaded.notes = table.notes;
  loaded.labels = at::tensor(labels, at::kLong);
  loaded.class_names = std::move(classes.names);
  return loaded;
}

}  // namespace

void match_columns(LabelledImages& table, const std::vector<std::string>& names, const std::string& owner) {
  if (names.empty() || table.columns.empty() || table.columns == names) return;
  require_same_times(table.columns, names, owner, table.files.front());
  std::vector<std::int64_t> order;
  for (const auto& name : names) {
    const auto place = std::find(table.columns.begin(), table.columns.end(), name) - table.columns.begin();
    const bool twice = std::count(names.begin(), names.end(), name) > 1;
    if (place == static_cast<std::ptrdiff_t>(table.columns.size()) || twice || table.columns.size() != names.size()) {
      throw InputError(fmt::format("{}: its columns are {}, and those of {} {}; give both tables the same columns",
                                   table.files.front(), listed(table.columns, most_listed), owner,
                                   listed(names, most_listed)));
    }
    order.push_back(place);
  }
  table.images = table.images.flatten(1).index_select(1, at::tensor(order, at::kLong)).view(table.images.sizes());
  table.columns = names;
  table.notes.push_back(fmt::format("its columns were put in the order of those of {}, by their names", owner));
}

LabelledImages load_csv(const std::string& where) {
  const auto [file, columns] = table_source(where);
  if (columns.longest != 0 && columns.sequence.empty()) {
    throw UsageError(
        fmt::format("{}: longest=NUMBER is for sequences; give sequence=COLUMN and time=COLUMN too", file));
  }
  CsvTable table = read_csv(file, columns);
  if (!table.sequences.empty()) {
    const Sequences sequences = sequences_of(table, columns.longest, file);
    LabelledImages loaded = labelled(table, sequences.label, file);
    loaded.images = in_range(sequences.values, file, loaded.notes);
    if (sequences.elapsed.defined()) loaded.images = at::cat({sequences.elapsed, loaded.images}, 2);
    loaded.columns = sequences.columns;
    loaded.notes.insert(loaded.notes.end(), sequences.notes.begin(), sequences.notes.end());
    return loaded;
  }
  LabelledImages loaded = labelled(table, table.label, file);
  loaded.images = in_range(to_tensor(table.values), file, loaded.notes);
  loaded.columns = std::move(table.columns);
  return loaded;
}

}  // namespace afterimage
