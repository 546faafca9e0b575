// The flow attack on rows of one-hot columns: an exchange of levels after its gradient steps.
#pragma once

#include "attacks/attack.h"
#include "attacks/solver/row_span.h"

namespace afterimage {

// Goes on from what the gradient steps made, `polished`: its images, and those that were confirmed before (`sure` [s,
// d], may be undefined), are taken as the rows that they are nearest to. The claim is of these rows, then the polished
// images. A row is confirmed where no other level of one group explains nearly as much in its place. The network has to
// be dense and the columns' groups known. Throws Interrupted.
Reconstruction flow_of_rows(const Subject& subject, const std::optional<RowSpan>& span, const Tensor& sure,
                            Reconstruction polished, std::int64_t rounds, Job& job);

// About what the exchange takes for so many rows: it grows with the square of their number.
inline double seconds_of_exchange(double rows, std::int64_t rounds) {
  constexpr double of_30_rows = 5;  // a round, 12 columns of 5 levels, one core
  return static_cast<double>(2 * rounds) * of_30_rows * rows * rows / 900;
}

}  // namespace afterimage
