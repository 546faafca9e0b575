#include "models/connectivity.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <optional>
#include <set>

#include "models/foundations/error.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

[[noreturn]] void refuse(const std::string& architecture, const std::string& what) {
  throw UsageError(fmt::format("architecture \"{}\": {}", printable(architecture), what));
}

std::optional<std::uint64_t> whole_in(const std::string& text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

Connectivity take_connectivity(const std::string& architecture, std::string& sizes) {
  Connectivity connectivity;
  std::set<std::string> given;
  for (std::size_t equals = sizes.find_last_of('='); equals != std::string::npos; equals = sizes.find_last_of('=')) {
    const std::size_t comma = sizes.find_last_of(',', equals);
    if (comma == std::string::npos) refuse(architecture, "has settings but no sizes; write as in cfc:64,rank=8");
    const std::string name = sizes.substr(comma + 1, equals - comma - 1), value = sizes.substr(equals + 1);
    if (!given.insert(name).second) refuse(architecture, fmt::format("says {} twice", printable(name)));
    if (name == "rank") {
      const auto rank = whole_in(value);
      if (!rank || *rank < 1 || *rank > 1 << 20) {
        refuse(architecture, fmt::format("rank {} has to be a whole number from 1", printable(value)));
      }
      connectivity.rank = static_cast<std::int64_t>(*rank);
    } else if (name == "sparsity") {
      const auto share = number_in(value);
      if (!share || !(*share >= 0 && *share < 1)) {
        refuse(architecture, fmt::format("sparsity {} has to be a number from 0 to below 1", printable(value)));
      }
      connectivity.sparsity = *share;
    } else if (name == "mask") {
      const auto seed = whole_in(value);
      if (!seed) refuse(architecture, fmt::format("mask {} has to be a whole number from 0", printable(value)));
      connectivity.mask = *seed;
    } else if (name == "time") {
      if (value != "first") {
        refuse(architecture, fmt::format("time {}: has to be first, the first number of a step", printable(value)));
      }
      connectivity.timed = true;
    } else {
      refuse(architecture,
             fmt::format("setting {} is unknown; there are rank, sparsity, mask and time", printable(name)));
    }
    sizes.erase(comma);
  }
  return connectivity;
}

Tensor mask_of(const Connectivity& connectivity, std::int64_t number, std::int64_t n, std::int64_t m) {
  Tensor mask = at::ones({n * m});
  const auto zeros = static_cast<std::int64_t>(std::llround(connectivity.sparsity * static_cast<double>(n * m)));
  if (zeros > 0) {
    Generator random = seeded(connectivity.mask * 1000003 + static_cast<std::uint64_t>(number));
    mask.index_fill_(0, at::randperm(n * m, random, at::kLong).narrow(0, 0, zeros), 0);
  }
  return mask.view({n, m});
}

std::pair<Tensor, Tensor> factors_of(const Tensor& matrix, std::int64_t rank) {
  const auto [u, values, right] = at::linalg_svd(matrix.to(at::kDouble), /*full_matrices=*/false);
  const Tensor roots = values.narrow(0, 0, rank).sqrt();
  return {(u.narrow(1, 0, rank) * roots).to(matrix.scalar_type()).contiguous(),
          (right.narrow(0, 0, rank) * roots.unsqueeze(1)).to(matrix.scalar_type()).contiguous()};
}

}  // namespace afterimage
