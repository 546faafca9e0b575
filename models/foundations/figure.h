// A measured figure, described once: JSON, pages and summaries follow from its description.
//
// A struct of figures stands beside a table of Figure<Struct>, one entry a figure, in the order of its JSON.
#pragma once

#include <optional>
#include <variant>

namespace afterimage {

// Empty where it was not, or could not be, measured.
using Number = std::optional<double>;

enum class Unit {
  number,       // any finite number
  fraction,     // from 0 to 1, shown as percent
  probability,  // from 0 to 1, shown as a number: small ones matter
};

template <class Owner>
struct Figure {
  const char* key;                                       // in JSON
  std::variant<Number Owner::*, double Owner::*> value;  // a double is always there
  Unit unit;
  const char* name;     // for people
  const char* meaning;  // what it measures, and what small and large values say

  Number of(const Owner& owner) const {
    return std::visit([&](auto member) -> Number { return owner.*member; }, value);
  }
  bool may_be_missing() const { return std::holds_alternative<Number Owner::*>(value); }
  // `number` has to be there where the figure may not be missing.
  void set(Owner& owner, const Number& number) const {
    if (const auto* optional = std::get_if<Number Owner::*>(&value)) {
      owner.*(*optional) = number;
    } else {
      owner.*std::get<double Owner::*>(value) = number.value();
    }
  }
};

}  // namespace afterimage
