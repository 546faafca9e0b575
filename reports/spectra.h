// The spectra of hidden-to-hidden matrices, in the report and on its page.
#pragma once

#include <kainjow/mustache.hpp>
#include <vector>

#include "models/foundations/json_reader.h"
#include "reports/report.h"

namespace afterimage {

Json to_json(const std::vector<HiddenMatrix>& matrices);
// Throws InputError.
std::vector<HiddenMatrix> read_hidden_matrices(const json::Reader& in);

namespace page {
// A row of the page's table for each.
kainjow::mustache::data spectra_data(const std::vector<HiddenMatrix>& matrices);
}  // namespace page

}  // namespace afterimage
