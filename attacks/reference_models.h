// Membership against reference models, which were trained in the same way on other data and saw none of the candidates
// (Subject::references). Both start from the label's confidence p, as phi = log(p / (1 - p)).
#pragma once

#include "attacks/attack.h"

namespace afterimage {

// Offline likelihood ratio (Carlini et al. 2022, arXiv 2112.03570): how far phi is above what the references give, in
// standard deviations; with fewer than 64 references these are pooled over all candidates.
Attack lira_attack();

// Offline relative membership (Zarifzadeh, Liu & Shokri 2024, arXiv 2312.03262): the ratio of p to what the references
// give. The share of population points with a smaller ratio, which is its score there, orders candidates in the same
// way, and is left out.
Attack rmia_attack();

}  // namespace afterimage
