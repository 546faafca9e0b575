// Which training images leak, and which of their properties predict it. Uses the true training images.
#pragma once

#include <optional>
#include <vector>

#include "audit/audit_input.h"
#include "reports/report.h"

namespace afterimage {

// Rank correlation of five properties of the training images with how close the strongest finding is to each:
//   dual_coefficient   norm of the image's best coefficients in the change of the parameters; `coefficients` [N, F]
//                      are those of measure_deviation(), undefined where there are none
//   margin             y f(x), or the right class's output less the largest other
//   active_bounds      number of black or white pixels
//   nearest_neighbour  relative L2 to the nearest other training image
//   loss               of the image, after training
// Null when no attack made images. Throws std::out_of_range on samples that are no training images.
std::optional<Exposure> exposure_of(const AuditInput& input, const Tensor& coefficients,
                                    const std::vector<Finding>& findings);

}  // namespace afterimage
