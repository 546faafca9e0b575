// Whether two sets hold the classes as often.
#pragma once

#include "models/tensor.h"

namespace afterimage {

// The p-value of Pearson's test (same_frequencies_p_value()) on the classes of targets [n, C] and [m, C]: the sign of
// one column, or the largest of several.
double same_classes_p_value(const Tensor& a, const Tensor& b);

}  // namespace afterimage
