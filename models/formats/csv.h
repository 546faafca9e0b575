// Tables of numbers with a label on each line, as comma-separated text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "models/foundations/array.h"

namespace afterimage {

struct CsvTable {
  Array values;                      // [n, d] float32, n and d at least 1
  std::vector<std::uint32_t> label;  // [n] which of `labels` each line has
  std::vector<std::string> labels;   // the distinct labels, in the order of their first lines; 65536 at most
};

// The first line is a header where it names a column "label" or its values are text without a number among them; the
// label is in the column "label", else in the last one. A field may be quoted, with quotes in it doubled; blank
// lines are skipped. Throws InputError with the line: no label, fewer or more fields than in the first, a value
// that is no finite number, a quote that is not closed.
CsvTable read_csv(const std::filesystem::path& path);

}  // namespace afterimage
