// What an audit reports of matrices whose rank or entries an architecture limits.
#pragma once

#include <vector>

#include "attacks/subject.h"
#include "reports/report.h"

namespace afterimage {

// Singular values and spectral radii, before training where that is known and after it; none of a matrix with more than
// 1024 rows or columns, for the time that takes, or with numbers that are not finite.
std::vector<LimitedMatrix> limited_matrices(const TrainedNetwork& released);

}  // namespace afterimage
