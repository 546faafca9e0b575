// What formats for CI services tell a gate's result by.
#pragma once

#include <string>

#include "reports/report.h"

namespace afterimage {

// The network that a gate's result is of. SARIF and JUnit tell networks apart by `digest`.
struct GatedWeights {
  std::string digest;  // SHA-256 of the trained weights, 64 hexadecimal digits; of all inputs where none are recorded
  std::string file;    // as recorded; of an absolute path, or one with "..", the last part alone; may be empty

  std::string short_digest() const { return digest.substr(0, 12); }
};
GatedWeights gated_weights(const Report& report);

// What an inconclusive rule counts as under the gate's policy: fail where it does not say.
Verdict inconclusive_counts_as(const Gate& gate);

}  // namespace afterimage
