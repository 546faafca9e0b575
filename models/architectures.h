// Networks by the names of their families.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/network.h"

namespace afterimage {

// What the command line and messages say of them.
inline constexpr const char* architecture_kinds =
    "mlp:WIDTH,WIDTH,... (hidden widths, ReLU), linear (one layer); convnet:CHANNELS,CHANNELS,... (3x3 convolution, "
    "ReLU and 2x2 pooling for each); rnn:, lstm:, gru: or cfc:WIDTH (reads pictures row by row, or sequences) and "
    "low-rank-mlp:WIDTH,WIDTH,..., each perhaps with ,rank=R,sparsity=S,mask=SEED, and cfc with ,time=first";

// The network of `architecture` for inputs of `shape`: any family but that of files (torchscript:FILE). Throws
// UsageError: a family that is unknown, sizes that are malformed or do not fit the inputs, a parameterization that the
// family does not have.
std::unique_ptr<Network> make_network_for(const std::string& architecture, const std::string& parameterization,
                                          const std::vector<std::int64_t>& shape, std::int64_t outputs);

}  // namespace afterimage
