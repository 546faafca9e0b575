// Where a network's inputs lie: which shape an image has, how its pixels become inputs, and in which range.
#pragma once

#include <cstdint>
#include <vector>

#include "models/tensor.h"

namespace afterimage {

// inputs = (pixels - mean) / scale, with pixels in [low, high]. Mean and scale are part of the preprocessing that ships
// with a model.
struct ImageSpace {
  std::vector<std::int64_t> shape;  // [h, w], [h, w, c] or [d]: how the d numbers of an input lie, row by row
  Tensor mean;                      // [d]
  double low = 0, high = 1;
  Tensor scale = {};  // [d], above zero; undefined: nothing was divided
  // Sizes of groups of columns, one after another, of which exactly one is `high` and the others `low` in every row;
  // they sum to d. Empty: not known, or not so.
  std::vector<std::int64_t> one_hot = {};
  // The values that pixels have, where these are few; empty: not known, or many.
  std::vector<double> levels = {};
  bool named = false;  // whether the numbers have names: rows or sequences, no pictures whatever the shape

  std::int64_t dimension() const { return mean.numel(); }  // d
  // Whether inputs are pictures: [h, w], [h, w, 1] or [h, w, 3], and not named.
  bool is_picture() const;

  // Inputs [..., d] as pixels, and pixels [..., d] as inputs, in the dtype of the argument. Not clipped to the range.
  Tensor pixels(const Tensor& inputs) const { return times_scale(inputs) + mean.to(inputs.scalar_type()); }
  Tensor inputs(const Tensor& pixels) const { return over_scale(pixels - mean.to(pixels.scalar_type())); }
  // Differences of inputs [..., d] as differences of pixels, and the other way round. Without a scale they pass
  // unchanged, to the bit.
  Tensor times_scale(const Tensor& differences) const;
  Tensor over_scale(const Tensor& differences) const;

  // The range of inputs [d], in the dtype of the mean.
  Tensor lower() const { return over_scale(low - mean); }
  Tensor upper() const { return over_scale(high - mean); }
  // How much wider the range of an input is than that of a pixel: the median over the pixels, since those that hardly
  // ever change may have a scale of any size.
  double width() const;
  // From black to white in an input, likewise.
  double range() const { return (high - low) * width(); }
  // With the mean in this dtype. The scale keeps its own: it is converted where it is used.
  ImageSpace to(at::ScalarType dtype) const {
    return {shape, mean.to(dtype), low, high, scale, one_hot, levels, named};
  }
};

// Sizes of groups of columns as in ImageSpace::one_hot that all rows [n, d] of zeros and ones fit, the shortest first;
// empty where there are none.
std::vector<std::int64_t> one_hot_groups(const Tensor& rows);

// The different values among pixels [n, d], where there are two to eight; else empty.
std::vector<double> levels_of(const Tensor& pixels);

// Whether a shape is that of a picture.
bool is_picture(const std::vector<std::int64_t>& shape);

}  // namespace afterimage
