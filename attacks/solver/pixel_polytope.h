// The images that the first layer's change and the pixel range leave: {x in the row span : low <= x + mean <= high}.
//
// Every training image lies in this polytope, and one with many pixels at a bound sits where far more bounds are active
// than the span has dimensions. A linear programme towards anything that points roughly at it lands on it
// (docs/methods.md, section 3).
//
// What tells an image from a chance vertex is not the number of active bounds but whether they agree: at a training
// image each active bound follows from the others, so that the least-squares fit to all of them leaves no bound with a
// leverage near one. A chance vertex, or a mixture of images that share a black margin, hangs on a few bounds that
// nothing else supports: there the leverage is one. Measured on MNIST (N = 100) and Fashion-MNIST (N = 50): up to 0.96
// for vertices within relative L2 0.05 of an image, from 0.98 for all others.
#pragma once

#include <vector>

#include "attacks/attack.h"
#include "attacks/solver/box_splitting.h"
#include "attacks/span.h"

namespace afterimage {

struct VertexSet {
  Tensor coordinates;                // [n, r] in the span's basis, float64, refitted to all active bounds
  std::vector<double> leverage;      // [n] the largest of an active bound; 1: some direction rests on one bound alone
  std::vector<std::int64_t> active;  // [n] bounds that are active
  // [n] the smallest singular value of the active bounds' equations: how firmly they hold the weakest direction
  std::vector<double> firmness;
  // [n] what the fit leaves of the active bounds, root mean square over those beyond the span's dimensions, in slacks
  std::vector<double> misfit;

  std::int64_t size() const { return static_cast<std::int64_t>(leverage.size()); }
};

// Above it a bound stands alone.
inline constexpr double largest_leverage = 0.97;

class PixelPolytope {
 public:
  // Bounds have slack for what rounding in training does to the span; it follows from the noise in the singular values,
  // times `slacks`.
  PixelPolytope(const RowSpan& span, const ImageSpace& space, double slacks = 1);
  ~PixelPolytope();

  std::int64_t rank() const { return basis_.size(0); }
  const Tensor& basis() const { return basis_; }  // [r, d] float64
  double slack() const { return slack_; }         // in units of the images
  // The vertex that each candidate [n, r] leads to, refitted: the furthest one along the outward normals of the bounds
  // that the candidate's pixels are near, then along those of that vertex, and so on until its bounds agree or it stays
  // (linearizations of a convex function that is largest where pixels are at a bound). The sum of a point's active
  // normals lies inside its normal cone, so that a candidate whose near pixels are right leads to its image however far
  // off the others are: at N = 100 from 100 % off 16 of 16, where the programme towards the candidate itself finds 3;
  // at N = 200 from 60 % off 8 of 8, where it finds none. (So it was with a linear programme for each; splitting,
  // box_splitting.h, leads to the same.) Candidates are spread over the threads there are, in groups that do not depend
  // on how many these are; one ends its way within the slack of where it would alone. One that leads nowhere has
  // leverage 1. Throws Interrupted.
  VertexSet snap(const Tensor& candidates, Progress& progress) const;
  // Likewise from directions [n, r], which say nothing of where pixels are: each goes to the furthest vertex along it
  // first, by a linear programme.
  VertexSet snap_along(const Tensor& directions, Progress& progress);
  // The fit to the bounds that are active at each of these images [n, r] already, within `slacks` times the slack.
  VertexSet refit(const Tensor& coordinates, double slacks) const;

 private:
  class Programme;
  Tensor outward(const Tensor& coordinates) const;
  // Of candidates [n, r] that one thread takes together, into the rows of `found` from `first` on.
  void snap_group(const Tensor& candidates, std::int64_t first, VertexSet& found) const;

  Tensor basis_;          // [r, d] float64
  Tensor live_;           // [p] pixels that the span moves
  Box box_;               // of what the span adds to the mean there, [p, r], with slack
  Tensor lower_, upper_;  // [p] without
  double slack_ = 0, stride_ = 0;
  std::vector<std::unique_ptr<Programme>> programmes_;  // one for each thread that ever needed one
};

}  // namespace afterimage
