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
  Tensor elapsed;                    // [n, T, 1] float32, see below; undefined where steps are evenly spaced
  std::vector<std::uint32_t> label;  // [n] which of the table's labels
  std::vector<std::string> columns;  // of the T (m + 1) or T m numbers, as "step 2 heart rate"
  std::vector<std::string> notes;
};

// Of a table whose lines are time steps (CsvTable::sequence). The lines of a sequence have to be adjacent, with
// increasing times and one label, and all sequences of one length. Where the steps are not evenly spaced, the time
// since the previous step, divided by `longest` (0: by the longest in the file), becomes the first value of each step,
// "elapsed"; it is 0 at the first step. A sequence has 2^18 values at most.
//
// Throws InputError that names the file and the sequence.
Sequences sequences_of(const CsvTable& table, double longest, const std::string& file);

// Throws InputError that names `file` where one of two tables has elapsed times and the other not, or their divisors
// differ. `ours` are the columns of `file`, `theirs` those of `owner` ("the training set").
void require_same_times(const std::vector<std::string>& ours, const std::vector<std::string>& theirs,
                        const std::string& owner, const std::string& file);

// The divisor of elapsed times, as the names of the columns state it; empty where the first column is not "elapsed".
std::string longest_step_of(const std::vector<std::string>& columns);

}  // namespace afterimage
