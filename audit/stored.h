// The arrays beside a report, from which `verify` recomputes its scores: what each attack claimed (NAME.npz), and the
// training and control images (scoring.npz).
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "attacks/scoring/score.h"
#include "reports/report.h"

namespace afterimage {

// Undefined where the attack made no such array.
struct StoredClaim {
  Tensor images = {}, confirmed = {}, coefficients = {};  // [M, d], [M] bool, [M, F]
  Tensor membership_training = {}, membership_control = {};
  std::optional<Status> status = {};  // of the attack's finding; files of earlier versions have none
};

// A claim without arrays and status has no file: writing it removes an existing one. Reading throws InputError on an
// invalid status.
void write_claim(const std::filesystem::path& file, const StoredClaim& claim);
StoredClaim read_claim(const std::filesystem::path& file);
// Throws InputError, which names the file, where the claim's arrays cannot be compared with the truth: wrong shapes,
// dtypes or numbers of rows, or NaN in images or scores.
void require_fitting(const StoredClaim& claim, const Truth& truth, const std::filesystem::path& file);

// Training and control images, mean, scale (where there is one) and labels. Reading throws InputError on arrays that
// are missing or do not fit.
void write_truth(const std::filesystem::path& file, const Truth& truth, const Tensor& labels);
std::pair<Truth, std::vector<std::string>> read_truth(const std::filesystem::path& file);

}  // namespace afterimage
