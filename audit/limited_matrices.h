// What an audit reports of matrices whose rank or entries an architecture limits.
#pragma once

#include <vector>

#include "attacks/subject.h"
#include "reports/report.h"

namespace afterimage {

// Singular values and spectral radii, before training where that is known and after it; none of a matrix with more than
// 2048 rows and columns, for the time that takes.
std::vector<LimitedMatrix> limited_matrices(const TrainedNetwork& released);

}  // namespace afterimage
