// How far the confidence of a network's predictions is from their accuracy.
#pragma once

#include "models/tensor.h"

namespace afterimage {

// The expected calibration error (Naeini et al., AAAI 2015): the mean over images of |accuracy - confidence| in
// `bins` bins of equal width, the confidence being the largest of `probabilities` [n, C], C at least 2; `classes` [n].
double expected_calibration_error(const Tensor& probabilities, const Tensor& classes, std::int64_t bins = 15);

}  // namespace afterimage
