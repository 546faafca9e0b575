// Records and what they were reconstructed as, for the page: a table with a column for each value. Of columns that are
// levels of one value (ImageSpace::one_hot) there is one column, which shows the level.
#pragma once

#include <kainjow/mustache.hpp>
#include <string>
#include <vector>

#include "reports/report.h"

namespace afterimage::page {

class RecordTable {
 public:
  explicit RecordTable(const DataFacts& facts);

  // Whether the sample has a value for each column: a report may be of other hands, and has none where columns are
  // many. Nothing else may be asked where no sample fits.
  bool fits(const Sample& sample) const;
  kainjow::mustache::data headings() const;  // a list of `text`
  // index, label, distance, exposed, and the lists original and reconstruction of `text` and `differs`: by more than a
  // fiftieth of the range, or in its level.
  kainjow::mustache::data row(const Sample& sample) const;

 private:
  struct Column {
    std::string heading;
    std::size_t first = 0;
    std::vector<std::string> levels = {};  // of several columns; empty: of one
  };
  std::vector<Column> columns() const;
  std::string name_of(std::size_t column) const;
  Column of_levels(std::size_t first, std::size_t count) const;
  static std::string text_in(const Column& column, const std::vector<double>& values);
  kainjow::mustache::data cells(const std::vector<double>& values, const std::vector<double>& original) const;

  const DataFacts& data_;
};

}  // namespace afterimage::page
