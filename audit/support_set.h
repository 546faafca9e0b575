// A distilled set as a file: written by `distill`, and by `train` into the run directory of a network that was trained
// on one; read by `--data npz:FILE`.
#pragma once

#include <filesystem>

#include "audit/drawn_data.h"
#include "defenses/defense.h"

namespace afterimage {

// Arrays images [M, ...] (pixels in [0, 1]), labels [M] (for each target a label of its nearest class), targets [M, C],
// and the mean and scale of the preprocessing that the set was made for.
void write_support_set(const std::filesystem::path& path, const SupportSet& support, const DrawnData& original);

// The task, network and recipe that a defence is given.
Undefended undefended_of(const DrawnData& data, std::shared_ptr<const Network> network, const Parameters& initial,
                         const Recipe& recipe);

}  // namespace afterimage
