// Which training images leak, and what would have told so beforehand: the auditor's view, with the truth at hand.
#pragma once

#include <optional>
#include <vector>

#include "audit/audit_input.h"
#include "reports/report.h"

namespace afterimage {

// Five predictors, one value a training image, against how near the strongest finding came to each:
//   dual_coefficient   norm of the image's best coefficients in the change of the parameters; `coefficients` [N, F]
//                      are those of measure_deviation(), undefined where there are none
//   margin             y f(x), or the right class's output less the largest other
//   active_bounds      pixels that are black or white
//   nearest_neighbour  relative L2 to the nearest other training image
//   loss               of the image, after training
// Null when no attack made images. Throws std::out_of_range on samples that are no training images.
std::optional<Exposure> exposure_of(const AuditInput& input, const Tensor& coefficients,
                                    const std::vector<Finding>& findings);

}  // namespace afterimage
