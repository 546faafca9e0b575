// What an audit reports of the hidden-to-hidden matrices of recurrent and low-rank networks.
#pragma once

#include <vector>

#include "attacks/subject.h"
#include "reports/report.h"

namespace afterimage {

// Singular values and spectral radii, before training where that is known and after it; none of a matrix with more than
// 1024 rows or columns, for the time that takes, or with numbers that are not finite.
std::vector<HiddenMatrix> hidden_matrices(const TrainedNetwork& released);

}  // namespace afterimage
