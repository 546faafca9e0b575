// A claim set against the truth: what `run_attack` reports and `verify` recomputes.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "audit/stored.h"
#include "reports/report.h"

namespace afterimage {

// Fills the finding's rates, intervals, distances and samples. `labels` are those of the training images; `seed` is
// that of the run and splits the control set.
void fill_scores(Finding& finding, const StoredClaim& stored, const Truth& truth,
                 const std::vector<std::string>& labels, std::int64_t seed);

// Claimed dual coefficients against the true ones [N, C], image by image where the claim has one within relative L2
// 0.05: how many those are, how many of them have a coefficient within 5 %, and the median of the relative errors.
Json compare_coefficients(const StoredClaim& claim, const Truth& truth, const Tensor& coefficients);

// contact-sheet.png: originals beside what the claim has for them, most exposed first. Nothing when there are no
// pictures. Throws std::out_of_range where the finding is of other images.
void write_sheet_of(const Finding& finding, const StoredClaim& claim, const Truth& truth,
                    const std::filesystem::path& out);

}  // namespace afterimage
