// The row space of the change of a dense layer.
//
// Every step of gradient descent changes the first dense layer by sums of delta x^T, so that the rows of its change lie
// in the span of the training images, exactly, at any width, loss, depth or batch order (docs/methods.md, section 3).
// With weight decay W_f = rho W_0 + (a matrix in that span). This does not hold for Adam: its steps are not linear in
// past gradients. Even so, and where images are so many that rounding hides where the span ends, more of a training
// image than of another lies in the directions that changed most.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "attacks/subject.h"

namespace afterimage {

struct RowSpan {
  double decay = 1;                     // rho, fitted on what lies outside the span
  std::vector<double> singular_values;  // of W_f - rho W_0, descending
  std::int64_t rank = 0;                // how many are large: the number of independent training images
  double gap = 1;                       // the ratio of the last large singular value to the next
  double rounding = 0;                  // standard deviation of the noise of one weight's change, from the small ones
  double relative_rounding = 0;         // the same, of the root mean square of the trained weights
  Tensor basis;                         // [rank, d] orthonormal rows, float64
};

struct SpanSearch {
  // Null where the spectrum of the change has no gap (full rank, Adam), or neurons moved along themselves by different
  // amounts (weight normalisation).
  std::optional<RowSpan> span;
  std::string evidence;  // without a span: what was seen instead
  std::vector<double> singular_values;
  // Without a span: [k, d] orthonormal rows, float64, in the order of the singular values. Undefined without change.
  Tensor directions;
};
SpanSearch find_row_span(const Tensor& initial, const Tensor& trained);
// The same for weights whose initial values are not known but small (docs/methods.md, section 4): of the trained
// weights themselves.
SpanSearch find_row_span(const Tensor& trained);
// The weight [n, d] of a layer that the images themselves go into, as Linear before a batch normalisation in
// TorchScript: that of which the gradient at each image x is a column times x^T, tried on a few. Nothing where there is
// none.
std::optional<std::string> input_weight_of(const TrainedNetwork& released);
// Of that layer, in any network; the weights before training have to be known.
SpanSearch input_span_of(const TrainedNetwork& released);
// Of the network's first layer; without a span as well where that is not dense, or the change is that of a merged
// adapter. The weights before training have to be known.
SpanSearch row_span_of(const TrainedNetwork& released);

// Whether a weight after training does not resemble the one before it, though they are of one size, as of networks that
// were drawn with different seeds. (Training moves weights by less than their size, or decays them by a factor.)
bool are_unrelated(const Tensor& initial, const Tensor& trained);

// Relative distance ||x - P x|| / ||x|| of images [n, d] to the row space, [n] float64; 1 for an image that is zero.
Tensor distance_to_span(const RowSpan& span, const Tensor& images);

// For a change without a span: the mean over r of log(||x - P_r x|| / ||x||), P_r the projection onto the r leading
// directions, r from a half to four fifths of them; [n] float64, 0 for an image that is zero. No single r is right for
// all: few images and Adam need a small one, many images and rounding a large one.
Tensor distance_to_leading(const Tensor& directions, const Tensor& images);

}  // namespace afterimage
