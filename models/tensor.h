// The tensor type of the whole program: LibTorch's, row-major.
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "models/foundations/array.h"

namespace afterimage {

using at::Tensor;

// Seeded random numbers are drawn from one of these, passed in; there is no global generator.
using Generator = at::Generator;
Generator seeded(std::uint64_t seed);

// From and to the form in which arrays lie in files; float16 and bfloat16 tensors are written as float32.
Tensor to_tensor(const Array& array);
Array to_array(const Tensor& tensor);

std::vector<double> to_doubles(const Tensor& tensor);  // flattened

}  // namespace afterimage
