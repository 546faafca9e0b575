#include "models/data/sequences.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

#include "models/foundations/error.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

constexpr double same_time = 1e-6;              // relative: decimal fractions are not exact
constexpr double most_units = 1e6;              // `longest` in steps: float32 still tells steps apart
constexpr std::int64_t most_numbers = 1 << 18;  // of a sequence
constexpr std::string_view elapsed_column = "step 1 elapsed/";

// First lines of the sequences, checked.
std::vector<std::size_t> first_lines(const CsvTable& table, const std::string& file) {
  std::vector<std::size_t> first;
  for (std::size_t line = 0; line < table.sequence.size(); ++line) {
    const auto sequence = table.sequence[line];
    const auto refuse = [&](const std::string& what) {
      throw InputError(fmt::format("{}: sequence \"{}\" {}", file, printable(table.sequences[sequence]), what));
    };
    if (sequence == first.size()) {
      first.push_back(line);
      continue;
    }
    if (sequence + 1 != first.size()) refuse("has lines in two places; sort the file by sequence and time");
    if (table.label[line] != table.label[line - 1]) refuse("has two labels; give all lines of a sequence the same");
    const double before = table.times[line - 1], now = table.times[line];
    if (now == before) refuse("has the same time twice; give each step one line");
    if (now < before) refuse("has times that fall; sort the file by sequence and time");
  }
  return first;
}

// The steps of all sequences.
std::size_t length_of(const CsvTable& table, const std::vector<std::size_t>& first, const std::string& file) {
  const std::size_t lines = table.sequence.size(), length = lines / first.size();
  const auto of = [&](std::size_t i) { return (i + 1 < first.size() ? first[i + 1] : lines) - first[i]; };
  for (std::size_t i = 1; i < first.size(); ++i) {
    if (of(i) == of(0)) continue;
    throw InputError(fmt::format("{}: sequence \"{}\" has {} lines and \"{}\" {}; cut or fill them to one length", file,
                                 printable(table.sequences[0]), of(0), printable(table.sequences[i]), of(i)));
  }
  if (length < 2) {
    throw InputError(
        fmt::format("{}: all sequences have one line; leave sequence= and time= out for a table of rows", file));
  }
  return length;
}

}  // namespace

Sequences sequences_of(const CsvTable& table, double unit, const std::string& file) {
  const auto first = first_lines(table, file);
  const auto length = static_cast<std::int64_t>(length_of(table, first, file));
  const auto count = static_cast<std::int64_t>(first.size()), numbers = table.values.shape[1];
  if (length > most_numbers / (numbers + 1)) {
    throw InputError(fmt::format("{}: sequences have {} steps of {} numbers, and {} numbers are the most; cut them",
                                 file, length, numbers, most_numbers));
  }
  Sequences result;
  result.values = to_tensor(table.values).view({count, length, numbers});
  for (const auto line : first) result.label.push_back(table.label[line]);
  const Tensor times = at::tensor(table.times, at::kDouble).view({count, length});
  const Tensor steps = times.narrow(1, 1, length - 1) - times.narrow(1, 0, length - 1);
  const double longest = steps.max().item<double>(), shortest = steps.min().item<double>();
  if (!std::isfinite(longest)) throw InputError(file + ": has times too far apart; give them in a larger unit");
  // Nor are differences of large numbers, as of seconds since 1970.
  const double rounding = 4 * std::numeric_limits<double>::epsilon() * times.abs().max().item<double>();
  const bool alike = unit == 0 && longest - shortest <= same_time * longest + rounding;
  if (unit == 0) unit = longest;
  if (longest > unit) {
    throw InputError(
        fmt::format("{}: has steps up to {:.9g} apart, and longest={:.9g}; give a larger one", file, longest, unit));
  }
  if (unit > most_units * longest) {
    throw InputError(fmt::format("{}: has steps of {:.9g} at most, and longest={:.9g}; give one of the same order",
                                 file, longest, unit));
  }
  result.notes.push_back(fmt::format("{} sequences of {} steps", count, length));
  if (alike) {
    result.notes.push_back(fmt::format("each step is {:.6g} after the one before", longest));
  } else {
    const Tensor shares = at::cat({at::zeros({count, 1}, at::kDouble), steps / unit}, 1);
    result.elapsed = shares.to(at::kFloat).unsqueeze(2);
    result.notes.push_back(
        fmt::format("steps are {:.6g} to {:.6g} apart: the time since the step before is a number of each, as a share "
                    "of the longest",
                    shortest, longest));
  }
  for (std::int64_t step = 1; step <= length; ++step) {
    if (!alike) result.columns.push_back(fmt::format("step {} elapsed/{:.9g}", step, unit));
    for (std::int64_t k = 0; k < numbers; ++k) {
      const auto at = static_cast<std::size_t>(k);
      result.columns.push_back(at < table.columns.size() ? fmt::format("step {} {}", step, table.columns[at])
                                                         : fmt::format("step {} column {}", step, k + 1));
    }
  }
  return result;
}

void require_same_times(const std::vector<std::string>& ours, const std::vector<std::string>& theirs,
                        const std::string& owner, const std::string& file) {
  const auto is_sequence = [](const auto& columns) {
    return !columns.empty() && columns.front().starts_with("step 1 ");
  };
  const std::string own = longest_step_of(ours), wanted = longest_step_of(theirs);
  if (own == wanted || !is_sequence(ours) || !is_sequence(theirs)) return;
  if (own.empty()) {
    throw InputError(
        fmt::format("{}: its steps are evenly spaced, and those of {} are not; write their times too, with longest={}",
                    file, owner, wanted));
  }
  if (wanted.empty()) {
    throw InputError(fmt::format(
        "{}: its steps are not evenly spaced, as those of {} are; give sequences with equal steps", file, owner));
  }
  const bool too_long = number_in(own).value_or(0) > number_in(wanted).value_or(0);
  throw InputError(fmt::format(
      "{}: its times are shares of {}, those of {} of {}; {}give both the same, as in "
      "csv:FILE,sequence=COLUMN,time=COLUMN,longest={}",
      file, own, owner, wanted, too_long ? "leave out sequences with longer steps than that, and " : "", wanted));
}

std::string longest_step_of(const std::vector<std::string>& columns) {
  if (columns.empty() || !columns.front().starts_with(elapsed_column)) return "";
  return columns.front().substr(elapsed_column.size());
}

}  // namespace afterimage
