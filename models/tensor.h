// The tensor type of the whole program: LibTorch's, row-major.
#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "models/foundations/array.h"

namespace afterimage {

using at::Tensor;

// Random numbers are drawn from a seeded generator that is passed in; no code uses a global one.
using Generator = at::Generator;
Generator seeded(std::uint64_t seed);

// From and to arrays as files hold them. Arrays of dtypes that LibTorch 1.13 lacks are widened() first; float16 and
// bfloat16 tensors become float32 arrays.
Tensor to_tensor(const Array& array);
Array to_array(const Tensor& tensor);

// "[2, 3]", for messages.
std::string shape_text(at::IntArrayRef shape);

std::vector<double> to_doubles(const Tensor& tensor);  // flattened

}  // namespace afterimage
