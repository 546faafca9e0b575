// Rows of one-hot columns whose tangent features add up to the change of all parameters.
//
// Such rows are words of a finite alphabet, so that no gradient is needed: one row at a time, each other level of each
// group is tried, and the one that explains most together with all other rows is taken (variable projection,
// docs/methods.md, section 3.7). Kernels of all that is tried come from one matrix product, and the gain of a row over
// the others from the inverse of theirs. Between rounds the tangent points move to the path that training on the
// present rows would take.
#pragma once

#include <vector>

#include "attacks/subject.h"
#include "models/job.h"

namespace afterimage {

class RowExchange {
 public:
  // The network has to be dense and the columns' groups known (ImageSpace::one_hot). At most `most` rows are looked
  // for. All in float64. `subject` and `job` have to outlive this.
  RowExchange(const Subject& subject, const Parameters& initial, const Parameters& trained, std::int64_t most,
              Job& job);

  struct Result {
    Tensor rows;             // [m, d] inputs, float64: the sure ones, then the most necessary first
    Tensor gain;             // [m] of ||h||^2, that is explained with a row and not without it
    Tensor second;           // [m] the same of the best other level of one group in its place, over `gain`
    double unexplained = 1;  // of ||h||^2
    std::int64_t sure = 0;   // of the rows, the first
    std::int64_t exchanges = 0;
  };
  // From `sure` [s, d], rows that stay, and those of the rows nearest to `likely` [n, d] that explain most, taken one
  // after another. Ends early where time is up: with no rows (undefined) before the first round. Throws Interrupted.
  Result run(const Tensor& sure, const Tensor& likely, std::int64_t rounds);

  // [n, m] bool, of inputs [n, d] and [m, d] of rows, float64.
  static Tensor are_equal(const Tensor& rows, const Tensor& others);

 private:
  // Of rows `near` a row (neighbours_of()), those that change two groups at once, of the levels that are best alone.
  Tensor double_neighbours(const Tensor& near, const Tensor& gains) const;
  Tensor random_row();
  void begin(const Tensor& sure, const Tensor& likely);
  std::int64_t most_rows_at_the_start(std::int64_t sure) const;
  std::vector<Parameters> path() const;
  // Kernel and inner products of the rows at these points; the inverse of the kernel is invert()'s.
  void set_points(const std::vector<Parameters>& points);
  struct Rest {
    Tensor inverse, coefficients;  // of the kernel of all rows but one, zero at that one; times their inner products
  };
  Rest without(std::int64_t row) const;
  struct Tried {
    Tensor gain, kernel, within, inner;  // [n], [n, F, m F], [n, F, F], [n, F]
  };
  Tried tried(const Tensor& candidates, const Rest& rest) const;
  void invert();
  struct Ascent {
    Tensor row;
    Tried tried;  // of which `which` is the row
    std::int64_t which = 0, moves = 0;
  };
  // As long as a neighbour explains more.
  Ascent ascend(const Tensor& start, const Rest& rest) const;
  void replace(std::int64_t row, const Ascent& by);
  // The row that this one leads to, in its place. Returns whether it is another.
  bool improve(std::int64_t row);
  void redraw_copies();
  Result conclude();
  double unexplained() const;
  std::int64_t features() const { return target_->features_per_image(); }

  const Subject& subject_;
  Job& job_;
  std::int64_t most_;
  Parameters initial_, trained_, drift_;
  std::unique_ptr<TangentTarget> target_;
  Tensor rows_;                      // [m, d] inputs
  Tensor kernel_, inverse_, inner_;  // [m F, m F] with the ridge, its inverse, [m F]
  double ridge_ = 0, norm2_ = 0;
  std::int64_t sure_ = 0;  // of rows_, the first, which stay
  std::int64_t exchanges_ = 0;
};

}  // namespace afterimage
