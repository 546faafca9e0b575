// Low-rank, sparse connectivity: W(r, s) = (W_1 W_2) * M, W_1 [n, r], W_2 [r, m], M a fixed mask with a share s of
// zeros (Tumma et al., ICLR 2024, arXiv 2310.03915).
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "models/tensor.h"

namespace afterimage {

// As an architecture says it: "rank=R,sparsity=S,mask=SEED,time=first", each of which may be left out.
struct Connectivity {
  std::int64_t rank = 0;  // 0: a whole matrix in place of the product
  double sparsity = 0;
  std::uint64_t mask = 0;  // what the mask is drawn from
  bool timed = false;      // "time=first", of cfc alone: the first number of a step is the time since the last

  bool is_low_rank() const { return rank > 0; }
};
// The settings after the sizes of `architecture`, as in "cfc:64,rank=8": takes them off `sizes`. Throws UsageError that
// names the architecture: an unknown or repeated setting, a rank below 1, a sparsity outside [0, 1).
Connectivity take_connectivity(const std::string& architecture, std::string& sizes);

// [n, m] float32 of zeros and ones, of which round(s n m) are zero. `number` tells masks of one network apart.
Tensor mask_of(const Connectivity& connectivity, std::int64_t number, std::int64_t n, std::int64_t m);

// W_1 and W_2 of the rank-r truncated singular value decomposition of a matrix [n, m], the singular values split
// evenly.
std::pair<Tensor, Tensor> factors_of(const Tensor& matrix, std::int64_t rank);

}  // namespace afterimage
