// Tables of numbers with a label on each line, as comma-separated text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "models/foundations/array.h"

namespace afterimage {

// Columns that are no values. Each is a name in the header, or a number: 1 is the first, -1 the last.
struct CsvColumns {
  std::string label = {};              // empty: as the header says, else as the values of the first and last column do
  std::vector<std::string> drop = {};  // left out
  // Of a table whose lines are time steps of sequences: the columns with the sequence's name and the time stamp. Both
  // or neither.
  std::string sequence = {}, time = {};
  double longest = 0;  // what elapsed times are divided by, above zero; 0: the longest in the file
};

struct CsvTable {
  Array values;                      // [n, d] float32, n and d at least 1
  std::vector<std::uint32_t> label;  // [n] which of `labels` each line has
  std::vector<std::string> labels;   // the distinct labels, in the order of their first lines; 65536 at most
  std::vector<std::string> columns;  // [d] the names of the values, printable; empty where there is no header
  // Of sequences, else empty: [n] which of `sequences` each line belongs to, and its time
  // (models/formats/time_stamp.h).
  std::vector<std::uint32_t> sequence = {};
  std::vector<double> times = {};
  bool has_dates = false;                   // the times are seconds
  std::vector<std::string> sequences = {};  // their names, in the order of their first lines; 2^20 at most
  std::vector<std::string> notes = {};      // which line is the header, which column the label, ...; printable
};

// A field may be quoted, with quotes in it doubled; blank lines are skipped. The first line is a header where it is
// text without a number, or names a column that is asked for or "label", "labels", "class" or "target" beside other
// names.
//
// The label is the column with one of these names, whatever their case, or a first or last column "y". Without such a
// name it is whichever of the first and the last column holds classes (text, or whole numbers that repeat), where the
// other cannot: numbers that are not whole, one value throughout, or another on each line. Row numbers in the first
// column are left out: 0 or 1 and so on, or different whole numbers below "id", "index", "Unnamed: 0" or no name.
//
// Throws InputError: a label column that is not certain, no label on a line, fewer or more fields than in the first, a
// value that is not a finite number, a time stamp that cannot be read, a quote that is not closed. Throws UsageError
// where `columns` names a column that the file does not have.
CsvTable read_csv(const std::filesystem::path& path, const CsvColumns& columns = {});

}  // namespace afterimage
