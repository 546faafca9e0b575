// A claim compared with the truth: what `run_attack` reports and `verify` recomputes.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "audit/stored.h"
#include "models/foundations/privacy_bounds.h"
#include "reports/report.h"

namespace afterimage {

// Fills the finding's rates, intervals, distances and samples. `labels` are those of the training images; `seed`, the
// run's, splits the control set. Without a request there is no bound on epsilon.
void fill_scores(Finding& finding, const StoredClaim& stored, const Truth& truth,
                 const std::vector<std::string>& labels, std::int64_t seed, const std::optional<BoundRequest>& bound);

// Compares claimed dual coefficients with the true ones [N, C], for the images with a reconstruction within relative L2
// 0.05: the number of these images, how many of them have a coefficient within 5 %, and the median relative error.
Json compare_coefficients(const StoredClaim& claim, const Truth& truth, const Tensor& coefficients);

// Writes contact-sheet.png: training images beside their reconstructions, most exposed first. Writes nothing where
// inputs are not pictures. Throws std::out_of_range where the finding is of other images.
void write_sheet_of(const Finding& finding, const StoredClaim& claim, const Truth& truth,
                    const std::filesystem::path& out);

}  // namespace afterimage
