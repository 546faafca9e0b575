// Sequences from the lines of a table.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/formats/csv.h"
#include "models/tensor.h"

namespace afterimage {

struct Sequences {
  Tensor values;                     // [n, T, m] float32
  Tensor elapsed;                    // [n, T, 1] float32, see below; undefined where all steps are alike
  std::vector<std::uint32_t> label;  // [n] which of the table's labels
  std::vector<std::string> columns;  // of the T (m + 1) or T m numbers, as "step 2 heart rate"
  std::vector<std::string> notes;
};

// Of a table with steps (CsvTable::sequence). The lines of a sequence stand together, with rising times, one label and
// as many steps as the others have. Where the time from step to step is not one and the same throughout, it becomes a
// number of its own, "elapsed": since the step before, 0 at the first, as a share of `longest` (0: of the longest in
// the file). The numbers of all steps of a sequence are 2^18 at most.
//
// Throws InputError that names the file and the sequence.
Sequences sequences_of(const CsvTable& table, double longest, const std::string& file);

// What times are shares of, as the first of these names of columns says it; empty where that is no time.
std::string longest_step_of(const std::vector<std::string>& columns);

}  // namespace afterimage
