// What inputs are called in sentences: images where they are pictures, records where they are rows of a table.
#pragma once

#include <string>
#include <vector>

#include "reports/report.h"

namespace afterimage {

// The text, with "record" and "column" in place of the words "image" and "pixel" where the data are records. Names of
// files and arrays in it are left as they are.
std::string worded(const DataFacts& data, std::string text);
std::vector<std::string> worded(const DataFacts& data, std::vector<std::string> texts);

// The same of all that attacks and the audit say in sentences, but the gate's, which apply() words.
void word(const DataFacts& data, Finding& finding);
void word(Report& report);

}  // namespace afterimage
