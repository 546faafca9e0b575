#include "reports/spectra.h"

#include <fmt/format.h>

#include "reports/json_parts.h"

namespace afterimage {
namespace {

Json spectrum_json(const Spectrum& spectrum) {
  return {{"radius", spectrum.radius ? Json(*spectrum.radius) : Json(nullptr)},
          {"singular_values", spectrum.singular_values}};
}

Spectrum read_spectrum(const json::Reader& in) {
  const auto values = in["singular_values"];
  Spectrum spectrum{json::read_numbers(values), in["radius"].real_or_null()};
  if (spectrum.singular_values.empty()) values.fail("is empty; every matrix has a singular value");
  return spectrum;
}

// Before and after training, or the latter alone.
std::string both(const HiddenMatrix& matrix, Number (*figure)(const Spectrum&)) {
  const auto text = [](Number value) { return fmt::format("{:.3f}", *value); };
  if (!figure(matrix.trained) || (matrix.initial && !figure(*matrix.initial))) return "not square";
  const std::string after = text(figure(matrix.trained));
  return matrix.initial ? fmt::format("{} to {}", text(figure(*matrix.initial)), after) : after;
}

}  // namespace

Json to_json(const std::vector<HiddenMatrix>& matrices) {
  Json list = Json::array();
  for (const auto& matrix : matrices) {
    list.push_back({{"matrix", matrix.name},
                    {"initial", matrix.initial ? spectrum_json(*matrix.initial) : Json(nullptr)},
                    {"trained", spectrum_json(matrix.trained)}});
  }
  return list;
}

std::vector<HiddenMatrix> read_hidden_matrices(const json::Reader& in) {
  std::vector<HiddenMatrix> matrices;
  for (const auto& item : in.list()) {
    HiddenMatrix matrix{item["matrix"].text(), std::nullopt, read_spectrum(item["trained"])};
    if (const auto initial = item["initial"]; !initial.is_null()) matrix.initial = read_spectrum(initial);
    matrices.push_back(std::move(matrix));
  }
  return matrices;
}

kainjow::mustache::data page::spectra_data(const std::vector<HiddenMatrix>& matrices) {
  kainjow::mustache::data rows{kainjow::mustache::data::type::list};
  for (const auto& matrix : matrices) {
    kainjow::mustache::data row;
    row.set("name", matrix.name);
    row.set("norm", both(matrix, [](const Spectrum& spectrum) { return Number(spectrum.singular_values.front()); }));
    row.set("radius", both(matrix, [](const Spectrum& spectrum) { return spectrum.radius; }));
    rows.push_back(row);
  }
  return rows;
}

}  // namespace afterimage
