// Prints reports and comparisons, in a few lines.
#pragma once

#include <string>

#include "reports/comparison.h"

namespace afterimage {

void print_summary(const Report& report, const std::string& folder);
void print_comparison(const DefenseComparison& comparison, const std::string& folder);
void print_finding(const Finding& finding, const DataFacts& data);
void print_deviation(const Deviation& deviation);
void print_exposure(const Exposure& exposure, const DataFacts& data);

}  // namespace afterimage
