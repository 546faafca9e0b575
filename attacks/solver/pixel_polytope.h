// The images that the first layer's change and the pixel range allow: {x in the row span : low <= x + mean <= high}.
//
// Every training image lies in this polytope, and one with many pixels at a bound sits where far more bounds are active
// than the span has dimensions. A linear programme towards anything that points roughly at it ends at it
// (docs/methods.md, section 3).
//
// What distinguishes an image from a chance vertex is not the number of active bounds but whether they agree: at a
// training image each active bound follows from the others, so that the least-squares fit to all of them leaves no
// bound with a leverage near one. A chance vertex, or a mixture of images that share a black margin, is determined by a
// few bounds that no other supports: there the leverage is one. Measured on MNIST (N = 100) and Fashion-MNIST (N = 50):
// up to 0.96 for vertices within relative L2 0.05 of an image, from 0.98 for all others.
#pragma once

#include <memory>
#include <vector>

#include "attacks/solver/box_splitting.h"
#include "attacks/solver/row_span.h"
#include "models/foundations/progress.h"

namespace afterimage {

// A vertex of the polytope, refitted to all bounds that are active there.
struct Vertex {
  Tensor coordinates;       // [r] in the span's basis, float64
  double leverage = 1;      // the largest of an active bound; 1: some direction is determined by one bound alone
  std::int64_t active = 0;  // bounds that are active
  // The smallest singular value of the active bounds' equations: how firmly they determine the weakest direction.
  double firmness = 0;
  // The residual of the fit to the active bounds, root mean square over those beyond the span's dimensions, in slacks.
  double misfit = 0;
};

// The coordinates of vertices in a span of `rank` dimensions, [n, rank].
Tensor coordinates_of(const std::vector<Vertex>& vertices, std::int64_t rank);

// With a larger leverage some direction is determined by one bound alone.
inline constexpr double largest_leverage = 0.97;

class PixelPolytope {
 public:
  // Bounds have slack for what rounding in training does to the span; it follows from the noise in the singular values,
  // times `slacks`.
  PixelPolytope(const RowSpan& span, const ImageSpace& space, double slacks = 1);
  ~PixelPolytope();

  std::int64_t rank() const { return basis_.size(0); }
  const Tensor& basis() const { return basis_; }              // [r, d] float64
  double slack() const { return slack_; }                     // in units of the images
  std::int64_t live_pixels() const { return live_.numel(); }  // that the span moves
  // The vertex that each candidate [n, r] leads to, refitted: the furthest one along the outward normals of the bounds
  // that the candidate's pixels are near, then along those of that vertex, and so on until its bounds agree or it stays
  // (linearizations of a convex function that is largest where pixels are at a bound). The sum of a point's active
  // normals lies inside its normal cone, so that a candidate whose near pixels are right leads to its image however far
  // off the others are: at N = 100 from 100 % off 16 of 16, where the programme towards the candidate itself finds 3;
  // at N = 200 from 60 % off 8 of 8, where it finds none. (So it was with a linear programme for each; splitting,
  // box_splitting.h, leads to the same.) Candidates are spread over the threads there are, in groups that do not depend
  // on how many these are; one ends its way within the slack of where it would alone. One that leads nowhere has
  // leverage 1. Throws Interrupted.
  std::vector<Vertex> snap(const Tensor& candidates, Progress& progress) const;
  // Likewise from directions [n, r], which do not say where pixels are: each goes to the furthest vertex along it
  // first, by a linear programme.
  std::vector<Vertex> snap_along(const Tensor& directions, Progress& progress);
  // The fit to the bounds that are active at each of these images [n, r] already, within `slacks` times the slack.
  std::vector<Vertex> refit(const Tensor& coordinates, double slacks) const;

 private:
  class Programme;
  Tensor outward(const Tensor& coordinates) const;
  Vertex refit_one(const Tensor& coordinates, double slacks) const;
  // Of candidates [n, r] that one thread works on together, to `found` and the n - 1 places after it.
  void snap_group(const Tensor& candidates, Vertex* found) const;

  Tensor basis_;          // [r, d] float64
  Tensor live_;           // [p] pixels that the span moves
  Box box_;               // of what the span adds to the mean there, [p, r], with slack
  Tensor lower_, upper_;  // [p] without
  double slack_ = 0, stride_ = 0;
  std::vector<std::unique_ptr<Programme>> programmes_;  // one for each thread that ever needed one
};

}  // namespace afterimage
