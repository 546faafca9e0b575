// What is known of the images in a row span: candidates are led to vertices of the pixel polytope, confirmed without
// the truth, and kept, so that the next search is for the rest (docs/methods.md, section 3).
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "attacks/scoring/claim.h"
#include "attacks/solver/gates.h"
#include "attacks/solver/image_size.h"
#include "attacks/solver/pixel_polytope.h"
#include "models/state.h"

namespace afterimage {

// In more dimensions a linear programme takes seconds, and the few bounds that are active beyond the rank prove little.
inline constexpr std::int64_t largest_rank = 300;
// Random directions find 20 of 20 images, 4 of 50 and none of 100, while a programme takes longer with each dimension.
inline constexpr std::int64_t most_missing_for_a_sweep = 60;

class Deflation {
 public:
  // `leverage` is the largest of a bound at a vertex that is confirmed.
  Deflation(const Subject& subject, const RowSpan& span, double leverage = largest_leverage);

  std::int64_t rank() const { return span_.rank; }
  // Images that may be missing yet, not below zero: of rank where the bias's change is that of rank images, of rank + 1
  // where it is not (the mean of the training set itself was subtracted), or where no bias was trained.
  std::int64_t missing() const { return std::max<std::int64_t>(most_images(span_, bias_) - found(), 0); }
  std::int64_t found() const { return known_.size(0); }
  // Whether the known images are all that there are. Their number alone does not say so: rows of a table may be more
  // than the rank.
  bool complete() const;
  const Tensor& known() const { return known_; }  // [K, r] coordinates, float64
  Tensor known_images() const;                    // [K, d] float32
  // [D, d] float32: vertices whose bounds agree, but on slack so coarse, or widened, that this proves nothing; none
  // resembles another or a known image.
  Tensor doubtful_images() const;
  // The known images, which are confirmed, then the doubtful ones and `others` [n, d] float32, which are not. Where the
  // network fits none of the images whose bounds agree, its outputs are no evidence (it was trained towards other
  // targets, or not to the end): these are doubtful then, unless they prove each other.
  Claim claim(const Tensor& others) const;
  const PixelPolytope& polytope() const { return *polytope_; }
  // Fewest bounds active at a known image; 0 while there is none.
  std::int64_t fewest_active() const;

  // The vertex that each candidate [n, r] leads to is confirmed when its bounds agree (and, on coarse or widened slack,
  // miss by no more than rounding), the trained network fits it as it fits its training images (squared loss; others
  // have no known outputs), and it is not yet known. Returns by how many more are known. Give the most promising
  // first: candidates that are near what is known, or that come after many that led nowhere, cost no programme.
  std::int64_t offer(const Tensor& candidates, Progress& progress, StateStore& store);
  // All that is known, to keep and to restore.
  State state() const {
    return State()
        .set("known", known_)
        .set("known_leverage", known_leverage_)
        .set("known_firmness", known_firmness_)
        .set("known_active", known_active_)
        .set("doubtful", doubtful_)
        .set("likely_tried", likely_tried_)
        .set("unfitted", unfitted_)
        .set("wide", std::int64_t{wide_});
  }
  void restore(const State& state);
  // Adds images that another attack confirmed, [K, d], by their coordinates in the span.
  void accept(const Tensor& images);
  // Takes back all known images but those that `which` [K] bool names.
  void retain(const Tensor& which);
  // Tries up to `most` random directions in which no known image has a part, for as long as they lead to new images.
  // Where few are missing, these stand out there; where many are, no direction is tried. When the directions lead
  // nowhere, such a direction added to a known image is often near enough to an unknown one (MNIST, N = 100: 99 images
  // where 96 were found). Images that are still missing may lie slightly outside the bounds: the rest of the directions
  // are tried with more slack. Returns by how many more are known.
  std::int64_t sweep(std::int64_t most, Generator& random, Progress& progress);

 private:
  // [count, r] random, known images having little part in them.
  Tensor unknown_directions(std::int64_t count, Generator& random) const;
  // Tries known images, each plus a direction of its own length in which no known image has a part, until one leads to
  // a new image.
  std::int64_t sweep_beside_known(Generator& random, Progress& progress);
  Tensor distances(const Tensor& coordinates) const;
  // Adds it to `others` [n, r], unless it resembles one of them.
  void keep(Tensor& others, const Tensor& coordinates) const;
  // More slack: an image with little weight in the first layer's change is off in the span by several times as much as
  // most, and lies outside the bounds with their usual slack. Returns whether they were not wide yet.
  bool widen();
  bool is_known(const Tensor& coordinates, double within) const;
  // The least of a vertex that is confirmed, compared with the known images.
  double least_firmness() const;
  // Whether it meets the condition that the bias's change sets, as the known ones do.
  bool meets_bias(const Vertex& vertex) const;
  // Whether it is what an image can be, by what is known of their values: sums of images seldom are.
  bool is_possible(const Tensor& coordinates) const;
  bool is_combination_of_known(const Tensor& coordinates) const;
  // What each known image contributes to each of `coordinates` [n, r], as GateTest::parts has it: [K, n]; zero where
  // that is not known.
  Tensor parts_of_known(const Tensor& coordinates) const;
  // Whether it is one image with a part of a known one in it, by what silent neurons say.
  bool has_part_of_known(const Tensor& coordinates) const;
  void drop_mixtures();
  // Whether bounds that agree prove nothing at this vertex: where all pixels are at a bound, as in pictures of two
  // values and one-hot rows, they also agree at sums of images.
  bool is_two_valued(const Vertex& vertex) const;
  // Whether the weights were rounded after training, as to float16: bounds that agree within such slack prove nothing.
  // Not told where the start is unknown: what lies outside the span then is the start.
  bool has_rounded_weights() const;
  // By the test of silent neurons, zero without.
  Tensor missing_direction(const Tensor& coordinates) const;
  bool is_proven_by_gates(const Tensor& coordinates) const;
  // Whether the direction that its silent neurons lack may be that of another image: a sum of images that is an image
  // itself, as x0 + x2 - x13 of pictures of two values or of one-hot rows, leaves nearly the same neurons alone as x0.
  // Of 5 rows that were confirmed one by one 4 were right. Of one-hot rows those near by are tried.
  bool may_stand_for(const Tensor& coordinates) const;
  // Adds vertices that prove each other (GateTest::proven_together): of rounded weights too, whose vertices are too far
  // off for the trained network to fit them. Returns how many.
  std::int64_t take_proven_together(Progress& progress);
  // As known, at these coordinates [r]; `fit` is the fit to its bounds.
  void add(const Tensor& coordinates, const Vertex& fit);
  // Puts the vertex in the place of the known one that it resembles, if its bounds agree better.
  void improve(const Vertex& vertex);
  // Adds those that can be confirmed, the smallest leverage first, for as long as any may be missing.
  std::int64_t take(const std::vector<Vertex>& vertices);
  // Those that can be confirmed, then the last image if it follows from them. All three return how many are new.
  std::int64_t take_all(const std::vector<Vertex>& vertices, Progress& progress);
  // Where the training set's own mean was subtracted, its images sum to zero: the last follows from the others, as far
  // off as all of them together, near enough to lead to it.
  std::int64_t take_last(Progress& progress);

  const Subject& subject_;
  RowSpan span_;
  std::unique_ptr<PixelPolytope> polytope_;
  ImageSize size_;
  BiasCondition bias_;
  std::optional<GateTest> gates_;  // null where the network's start is not known
  bool wide_ = false;
  double leverage_;
  Tensor known_, known_leverage_, known_firmness_, known_active_;  // [K, r], [K], [K], [K]
  std::int64_t likely_tried_ = 0;  // known, doubtful and unfitted, whether they prove each other
  Tensor known_directions_;        // [K, k] that silent neurons lack; [K, 1] without the test
  Tensor doubtful_, unfitted_;     // [D, r]: on coarse slack; by the trained network
};

}  // namespace afterimage
