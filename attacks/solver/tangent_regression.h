// The reconstruction functional with the images given: the change h of the parameters is regressed on the tangent
// features of a pool of candidates, in a metric that undoes the optimiser's. Members carry the coefficients.
//
// In float64 where the kernel is factored: its eigenvalues span seven orders of magnitude, and the small ones matter.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "attacks/subject.h"
#include "models/foundations/progress.h"

namespace afterimage {

// s, a positive number for each parameter: h / s is regressed on s phi. Each tensor's is of rank one, s_ij = rows_i
// columns_j, with the tensor as a matrix [n, k]; so kernels of dense layers keep their closed form (the form in which
// Adafactor keeps second moments: Shazeer & Stern 2018, arXiv 1804.04235).
struct ParameterScale {
  struct Factors {
    Tensor rows, columns;  // [n], [k]; undefined for a tensor that did not change, which is left out
  };
  std::vector<Factors> tensors;

  bool includes(std::size_t i) const { return tensors[i].rows.defined(); }
  // s times or s squared times each tensor; zero for those that are left out.
  Parameters times(const Parameters& parameters) const;
  Parameters times_square(const Parameters& parameters) const;
  Parameters over(const Parameters& parameters) const;
};

// The change of the parameters and the points at which features are taken: features are the mean over the points.
struct TangentPath {
  // In `dtype`, float32 or float64, as everything that follows.
  TangentPath(const TrainedNetwork& released, const std::vector<double>& along, at::ScalarType dtype);

  const Network& network;
  std::vector<Parameters> points;
  Parameters drift;             // h
  std::int64_t parameters = 0;  // those in tensors that changed

  // <direction, phi_c(x_j)>, [n, C].
  Tensor along(const Parameters& direction, const Tensor& images) const;
  // sum_jc a_jc phi_c(x_j).
  Parameters combined(const Tensor& images, const Tensor& coefficients) const;
};

// One for each parameter of those that changed.
ParameterScale plain_scale(const TangentPath& path);
// Adam divides each step by the root mean square of the gradient, so h / s with s^2 = 1 / rms is what it added up. The
// mean square of the candidates' loss gradients is estimated with random signs, by its means over rows and columns.
// Without a loss that fits the candidates' targets, of the gradients of all outputs.
ParameterScale adam_scale(const TangentPath& path, std::optional<LossKind> loss, const Candidates& candidates,
                          Generator& random);

// (K + r) a = Phi h with K = Phi s^2 Phi^T over all outputs of the pool, r being the ridge.
struct TangentRegression {
  Tensor coefficients;           // [n, C]
  double ridge = 0;              // r over the mean diagonal of K
  double relative_residual = 1;  // |h/s - s Phi^T a|^2 / |h/s|^2
  std::int64_t steps = 0;        // of conjugate gradients; 0: solved exactly
  // Of the exact solution, else undefined: the lower Cholesky factor of K + r, [n C, n C].
  Tensor factor;
};

// Up to so many rows (images x outputs) the kernel is formed and factored, where the network is dense or so many rows
// of features fit in memory.
inline constexpr std::int64_t largest_exact_kernel = 4096;
bool solves_exactly(const TrainedNetwork& released, std::int64_t images);
// float64 where it is solved exactly; else float32, which is enough for conjugate gradients that end early.
at::ScalarType dtype_for(const TrainedNetwork& released, std::int64_t images);

// Exactly, with the ridge of the largest evidence (marginal likelihood), in float64; in float32 by conjugate
// gradients, which need nothing but derivatives along directions and sums of gradients: no more memory than a few
// copies of the parameters, whatever the pool; `steps` at most, which regularise too, with a ridge of 1e-4.
TangentRegression regress(const TangentPath& path, const ParameterScale& scale, const Tensor& images,
                          std::int64_t steps, Progress& progress);
TangentRegression regress_exactly(const TangentPath& path, const ParameterScale& scale, const Tensor& images);
TangentRegression regress_by_steps(const TangentPath& path, const ParameterScale& scale, const Tensor& images,
                                   std::int64_t steps, double ridge, Progress& progress);

// Of each candidate z with one combination of outputs, psi = sum_c weights_c phi_c(z): <psi, h> less what the images of
// a background explain, over the norm of what they leave of psi (its t-value but for the noise's size); [n]. `weights`
// [n, C]. Where the regression is not exact, over the norm of psi itself.
Tensor partial_t_values(const TangentPath& path, const ParameterScale& scale, const Tensor& background,
                        const TangentRegression& regression, const Tensor& images, const Tensor& weights,
                        Progress& progress);

}  // namespace afterimage
