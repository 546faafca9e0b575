// The arrays that lie beside a report, from which `verify` recomputes its scores: what each attack claimed (NAME.npz)
// and what it was held against (scoring.npz).
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "attacks/scoring/score.h"
#include "reports/report.h"

namespace afterimage {

// Undefined where the attack made none.
struct StoredClaim {
  Tensor images = {}, confirmed = {}, coefficients = {};  // [M, d], [M] bool, [M, F]
  Tensor membership_training = {}, membership_control = {};
  std::optional<Status> status = {};  // of the attack's finding; files of earlier versions have none
};

// Leaves no file where there is neither a claim nor a status, also where an earlier one lay, and reads none as such.
// Reading throws InputError on a status that is none.
void write_claim(const std::filesystem::path& file, const StoredClaim& claim);
StoredClaim read_claim(const std::filesystem::path& file);
// Throws InputError, which names the file, where the claim's arrays cannot be held against the truth: other shapes or
// dtypes, other numbers of rows, images or scores that are no numbers.
void require_fitting(const StoredClaim& claim, const Truth& truth, const std::filesystem::path& file);

// Training and control images, mean, scale (where there is one) and labels. Reading throws InputError on arrays that
// are missing or do not fit.
void write_truth(const std::filesystem::path& file, const Truth& truth, const Tensor& labels);
std::pair<Truth, std::vector<std::string>> read_truth(const std::filesystem::path& file);

}  // namespace afterimage
