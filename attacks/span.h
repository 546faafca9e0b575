// The span probe: every step of gradient descent moves the first dense layer by sums of delta x^T, so its change has
// its row space inside the span of the training images, exactly, at any width, loss, depth or batch order
// (docs/methods.md, section 3). With weight decay W_f = rho W_0 + (a matrix in that span). Adam breaks it: its steps
// are not linear in past gradients. Even so, and where images are so many that rounding hides where the span ends, more
// of a training image than of another lies in the directions that changed most.
#pragma once

#include <optional>

#include "attacks/attack.h"

namespace afterimage {

struct RowSpan {
  double decay = 1;                     // rho, fitted on what lies outside the span
  std::vector<double> singular_values;  // of W_f - rho W_0, descending
  std::int64_t rank = 0;                // where they fall off: the number of independent training images
  double gap = 1;                       // ratio of the singular values on both sides of the fall
  double rounding = 0;                  // noise of one weight's change, standard deviation, from what is below the fall
  Tensor basis;                         // [rank, d] orthonormal rows, float64
};

// No span when the change has no gap in its spectrum (full rank, Adam); `evidence` then says what was seen.
struct SpanSearch {
  std::optional<RowSpan> span;
  std::string evidence;
  std::vector<double> singular_values;
  Tensor
      directions;  // without a span: [k, d] orthonormal rows, float64, as the singular values; undefined without change
};
SpanSearch find_row_span(const Tensor& initial, const Tensor& trained);
// The same for weights whose start is not known but small (docs/methods.md, section 4): of the trained weights
// themselves.
SpanSearch find_row_span(const Tensor& trained);
// Of the network's first layer; null as well where that is not dense. The start has to be known.
SpanSearch row_span_of(const TrainedNetwork& released);

// Relative distance ||x - P x|| / ||x|| of images [n, d] to the row space, [n] float64; 1 for an image that is zero.
Tensor distance_to_span(const RowSpan& span, const Tensor& images);

// For a change without a fall: the mean over r of log(||x - P_r x|| / ||x||), P_r the projection onto the r leading
// directions, r from a half to four fifths of them; [n] float64, 0 for an image that is zero. No single r serves: few
// images and Adam ask for a small one, many images and rounding for a large one.
Tensor distance_to_leading(const Tensor& directions, const Tensor& images);

class Span final : public Attack {
 public:
  std::string name() const override { return "span"; }
  std::string description() const override {
    return "counts the training images and tells members from others by the row space of the first layer's change, or "
           "of the last one's where it alone was trained; counts nothing after Adam or with nearly as many images as "
           "pixels, but still tells";
  }
  std::string needs() const override { return "initial and trained first-layer weights, the mean that was taken off"; }
  std::string does_not_apply() const override {
    return "a first layer that is not dense, unless the last layer alone was trained";
  }
  std::vector<OptionSpec> options() const override { return {}; }
  Estimate estimate(const Subject& subject, std::int64_t images, const OptionValues& options) const override;
  Reconstruction run(const Subject& subject, const HandOver& hand_over, const OptionValues& options, Generator& random,
                     Progress& progress, StateStore& store) const override;
};

}  // namespace afterimage
