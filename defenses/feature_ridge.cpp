#include "defenses/feature_ridge.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace afterimage {
namespace {

Tensor doubles(const Tensor& tensor) { return tensor.to(at::kDouble); }

double mean_weight(const Tensor& rows, double ridge) { return ridge * static_cast<double>(rows.size(0)); }

// L^-1 M L^-T, whose eigenvalues are those of (L L^T)^-1 M.
Tensor whitened(const Tensor& matrix, const Tensor& factor) {
  const Tensor half = at::linalg_solve_triangular(factor, matrix, /*upper=*/false);
  return at::linalg_solve_triangular(factor, half.t(), /*upper=*/false);
}

}  // namespace

FourierFeatures::FourierFeatures(std::int64_t inputs, std::int64_t features, double bandwidth, Generator& random) {
  if (features < 2 || features % 2 != 0 || !(bandwidth > 0)) {
    throw std::invalid_argument("features have to be pairs, and their bandwidth positive");
  }
  frequencies_ = at::randn({features / 2, inputs}, random, at::kDouble).div_(bandwidth);
}

Tensor FourierFeatures::operator()(const Tensor& images) const {
  const Tensor angles = at::mm(doubles(images), frequencies_.t());
  return at::cat({angles.cos(), angles.sin()}, 1).mul_(std::sqrt(2.0 / static_cast<double>(count())));
}

Tensor gaussian_kernel(const Tensor& a, const Tensor& b, double bandwidth) {
  // Differences, not products, so that equal images are at distance zero.
  const Tensor distances =
      at::cdist(doubles(a), doubles(b), 2, /*compute_mode=*/2);  // 2: never by matrix multiplication
  return distances.square_().mul_(-0.5 / (bandwidth * bandwidth)).exp_();
}

double median_distance(const Tensor& images, Generator& random) {
  constexpr std::int64_t most = 1000;
  if (images.size(0) < 2) return 0;
  const Tensor some = images.size(0) <= most
                          ? images
                          : images.index_select(0, at::randperm(images.size(0), random, at::kLong).narrow(0, 0, most));
  return at::pdist(doubles(some)).median().item<double>();
}

Tensor ridge_weights(const Tensor& features, const Tensor& targets, double ridge) {
  const std::int64_t count = features.size(1);
  const Tensor root = at::eye(count, at::kDouble).mul_(std::sqrt(mean_weight(features, ridge)));
  const Tensor right = at::cat({doubles(targets), at::zeros({count, targets.size(1)}, at::kDouble)});
  return std::get<0>(at::linalg_lstsq(at::cat({doubles(features), root}), right, /*rcond=*/{}, "gels"));
}

Tensor leverage_scores(const Tensor& features, double ridge) {
  const Tensor phi = doubles(features);
  const Tensor root = at::eye(phi.size(1), at::kDouble).mul_(std::sqrt(mean_weight(phi, ridge)));
  // Phi^T Phi + n lambda I = R^T R, so the scores are the squared norms of the rows of Phi R^-1, those of Q.
  const auto [q, r] = at::linalg_qr(at::cat({phi, root}), "reduced");
  return q.narrow(0, 0, phi.size(0)).square().sum(1);
}

SolvedLabels solve_labels(const Tensor& features, const Tensor& weights, double ridge) {
  const Tensor phi = doubles(features), wanted = doubles(weights);
  const double weight = mean_weight(phi, ridge);
  const auto [u, values, vh] = at::linalg_svd(phi, /*full_matrices=*/false);
  SolvedLabels solved;
  solved.largest = values[0].item<double>();
  const double tolerance =
      static_cast<double>(std::max(phi.size(0), phi.size(1))) * std::numeric_limits<double>::epsilon();
  solved.rank = (values > solved.largest * tolerance).sum().item<std::int64_t>();
  const Tensor sigma = values.narrow(0, 0, solved.rank);
  solved.smallest = sigma[-1].item<double>();

  const Tensor inverse_gains = sigma + weight / sigma;
  solved.condition = (inverse_gains.max() / inverse_gains.min()).item<double>();
  solved.labels = at::mm(u.narrow(1, 0, solved.rank),
                         at::mm(vh.narrow(0, 0, solved.rank), wanted).mul_(inverse_gains.unsqueeze(1)));
  solved.weights = ridge_weights(phi, solved.labels, ridge);
  const double norm = wanted.norm().item<double>();
  solved.relative_difference = (solved.weights - wanted).norm().item<double>() / (norm > 0 ? norm : 1);
  return solved;
}

KernelRidge::KernelRidge(const Tensor& images, const Tensor& targets, double bandwidth, double ridge)
    : bandwidth_(bandwidth), ridge_(ridge), images_(images) {
  kernel_ = gaussian_kernel(images, images, bandwidth);
  Tensor ridged = kernel_.clone();
  ridged.diagonal().add_(mean_weight(images, ridge));
  factor_ = at::linalg_cholesky(ridged);
  const Tensor y = doubles(targets);
  coefficients_ = at::cholesky_solve(y, factor_);
  // K a = y - n lambda a would lose digits where the ridge is large.
  fitted_ = at::mm(kernel_, coefficients_);
  objective_ = ridge * (y * coefficients_).sum().item<double>();
}

double KernelRidge::degrees_of_freedom() const {
  return at::cholesky_solve(kernel_, factor_).diagonal().sum().item<double>();
}

Tensor KernelRidge::predict(const Tensor& images) const {
  return at::mm(gaussian_kernel(images, images_, bandwidth_), coefficients_);
}

SpectralApproximation KernelRidge::approximation(const Tensor& features) const {
  const Tensor phi = doubles(features);
  Tensor ridged = at::mm(phi, phi.t());
  ridged.diagonal().add_(mean_weight(phi, ridge_));
  const Tensor values = at::linalg_eigvalsh(whitened(ridged, factor_));
  const Tensor ball = at::linalg_eigvalsh(whitened(kernel_, at::linalg_cholesky(ridged)));
  return {values[0].item<double>(), values[-1].item<double>(), ridge_ * ball[-1].item<double>()};
}

double KernelRidge::gap_bound(const SpectralApproximation& features) const {
  const double eta = std::max(1 / features.low - 1, 1 - 1 / features.high);
  return eta * eta * objective_;
}

double sufficient_frequencies(double ridge, double degrees_of_freedom, double delta, double failure) {
  return 8.0 / 3 / (ridge * delta * delta) * std::log(16 * degrees_of_freedom / failure);
}

}  // namespace afterimage
