// What the fields of one column of a table are, as far as it tells a label from values and row numbers.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "models/foundations/text.h"

namespace afterimage {

inline constexpr std::size_t most_csv_labels = 65536;

inline std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// True and False are 1 and 0.
inline std::optional<double> number_in_field(std::string_view text) {
  text = trimmed(text);
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  if (text == "True" || text == "TRUE" || text == "true") return 1;
  if (text == "False" || text == "FALSE" || text == "false") return 0;
  return number_in(text);
}

// What a column holds, as far as it tells what the column is.
class CsvColumn {
 public:
  enum class Kind { classes, constant, all_different, not_whole, unclear };

  void add(const std::string& field) {
    ++rows_;
    const auto value = number_in_field(field);
    const bool number = value && std::isfinite(*value), whole = number && *value == std::trunc(*value);
    counts_up_ = counts_up_ && whole && (rows_ == 1 ? *value == 0 || *value == 1 : *value == previous_ + 1);
    previous_ = value.value_or(0);
    if (field.empty()) return;  // an error, whatever the column is
    ++filled_;
    if (!number) ++texts_;
    if (!number && rows_ == 1) text_first_ = true;
    if (number && !whole) fraction_ = true;
    const auto hash = std::hash<std::string>()(field);
    const auto found = counts_.find(hash);
    if (found != counts_.end()) {
      ++found->second;
    } else if (counts_.size() < most_csv_labels) {
      counts_.emplace(hash, 1);
    } else {
      too_many_ = true;
    }
  }

  Kind kind() const {
    if (fraction_ || filled_ == 0) return Kind::not_whole;
    if (counts_.size() == 1 && !too_many_) return Kind::constant;
    if (counts_.size() == filled_ || too_many_) return Kind::all_different;
    const bool once = std::any_of(counts_.begin(), counts_.end(), [](const auto& entry) { return entry.second == 1; });
    const bool few = counts_.size() * rows_of_a_class <= filled_ || (counts_.size() <= most_classes && !once);
    return few || has_text() ? Kind::classes : Kind::unclear;
  }
  bool has_text() const { return texts_ > 0; }
  // As where a header was taken for a sample.
  bool only_first_is_text() const { return text_first_ && texts_ == 1 && rows_ > 1; }
  bool counts_up() const { return counts_up_ && rows_ > 1; }
  bool is_identity() const { return kind() == Kind::all_different && !has_text() && filled_ == rows_; }

  std::string text() const {
    if (kind() == Kind::not_whole) return fraction_ ? "fractions" : "no values";
    return fmt::format("{}{} different value{}", too_many_ ? "more than " : "", counts_.size(),
                       counts_.size() == 1 ? "" : "s");
  }

 private:
  static constexpr std::size_t rows_of_a_class = 10, most_classes = 1000;

  std::size_t rows_ = 0, filled_ = 0, texts_ = 0;
  bool fraction_ = false, text_first_ = false, counts_up_ = true, too_many_ = false;
  double previous_ = 0;
  std::unordered_map<std::size_t, std::size_t> counts_;  // of each field, by its hash
};

}  // namespace afterimage
