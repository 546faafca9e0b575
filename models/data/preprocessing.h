// How pictures are prepared for a network: the same for training and control images.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "models/tensor.h"

namespace afterimage {

struct Preprocessing {
  bool grey = false;                                          // colours to their luma (ITU-R BT.601)
  std::optional<std::pair<std::int64_t, std::int64_t>> size;  // resized to height and width
  bool any() const { return grey || size.has_value(); }
};

// "32x32": height and width, 1 to 16384 each. Throws UsageError.
std::pair<std::int64_t, std::int64_t> parse_size(const std::string& text);

// One picture [h, w] or [h, w, c], float32 in [0, 1], to [h', w'] or [h', w', c]. Resizing is linear, over the area
// that a pixel covers where it gets smaller. Pixels that change are rounded to 8 bits, as by programs that work on
// bytes, so that a picture is recognised after a mean was subtracted and added again. Throws InputError that names
// `file` where it has no colour channels, or no height and width.
Tensor prepared(const Tensor& picture, const Preprocessing& preprocessing, const std::string& file);

// One number for each pixel [d], from one for all, one for each channel, or d: for images of shape [h, w], [h, w, c] or
// [d]. Undefined where the count is none of these.
Tensor per_pixel(const Tensor& values, const std::vector<std::int64_t>& image_shape);

}  // namespace afterimage
