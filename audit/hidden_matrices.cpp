#include "audit/hidden_matrices.h"

#include <algorithm>

namespace afterimage {
namespace {

constexpr std::int64_t largest_side = 1024;

Spectrum spectrum_of(const Tensor& matrix) {
  const Tensor values = matrix.to(at::kDouble);
  Spectrum spectrum{to_doubles(at::linalg_svdvals(values)), std::nullopt};
  if (values.size(0) == values.size(1)) spectrum.radius = at::linalg_eigvals(values).abs().max().item<double>();
  return spectrum;
}

bool finite(const Tensor& matrix) { return at::isfinite(matrix).all().item<bool>(); }

}  // namespace

std::vector<HiddenMatrix> hidden_matrices(const TrainedNetwork& released) {
  const Network& network = *released.network;
  const auto trained = network.hidden_matrices(released.trained);
  const bool known = released.knows_initial();
  const auto initial = known ? network.hidden_matrices(released.initial) : trained;
  std::vector<HiddenMatrix> measured;
  for (std::size_t i = 0; i < trained.size(); ++i) {
    const auto& [name, matrix] = trained[i];
    if (std::max(matrix.size(0), matrix.size(1)) > largest_side || !finite(matrix)) continue;
    measured.push_back({name, std::nullopt, spectrum_of(matrix)});
    if (known && finite(initial[i].second)) measured.back().initial = spectrum_of(initial[i].second);
  }
  return measured;
}

}  // namespace afterimage
