// The arrays that lie beside a report, from which `verify` recomputes its scores: what each attack claimed (NAME.npz)
// and what it was held against (scoring.npz).
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "attacks/scoring/score.h"

namespace afterimage {

// Undefined where the attack made none.
struct StoredClaim {
  Tensor images, confirmed, coefficients;  // [M, d], [M] bool, [M, F]
  Tensor membership_training, membership_control;
};

// Leaves no file for an attack that claims nothing, also where an earlier one lay, and reads none as such a claim.
void write_claim(const std::filesystem::path& file, const StoredClaim& claim);
StoredClaim read_claim(const std::filesystem::path& file);

// Training and control images, mean, scale (where there is one) and labels. Reading throws InputError on arrays that
// are missing or do not fit.
void write_truth(const std::filesystem::path& file, const Truth& truth, const Tensor& labels);
std::pair<Truth, std::vector<std::string>> read_truth(const std::filesystem::path& file);

}  // namespace afterimage
