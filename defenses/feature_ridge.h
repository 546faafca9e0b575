// Ridge regression on random Fourier features of a Gaussian kernel, the few points that give the same weights as many
// images do, and how far the features' predictor is from the kernel's own.
//
// Everything is float64. The ridge lambda > 0 weighs ||w||^2 against the *mean* squared error, so that it means the
// same on n images as on m points:
//
//   (1)  w = argmin 1/n ||Phi w - y||_F^2 + lambda ||w||_F^2 = (Phi^T Phi + n lambda I)^-1 Phi^T y
//
// with Phi [n, s] the features of the images and y [n, C]. Norms over several outputs sum over them.
#pragma once

#include "models/tensor.h"

namespace afterimage {

// Random Fourier features (Rahimi & Recht 2007, Algorithm 1) as pairs of a cosine and a sine, which for the Gaussian
// kernel vary less than cosines with random phases (Sutherland & Schneider 2015):
//
//   phi(x) = sqrt(2/s) [cos(omega_1 x), ..., cos(omega_s/2 x), sin(omega_1 x), ...],  omega_j ~ N(0, I / bandwidth^2)
//
// so that <phi(x), phi(x')> has expectation k(x, x') = exp(-||x - x'||^2 / (2 bandwidth^2)) and variance
// (1 - k(x, x')^2)^2 / s, and ||phi(x)|| = 1.
class FourierFeatures {
 public:
  // `features` is s. Throws std::invalid_argument unless it is even and at least 2, and `bandwidth` positive.
  FourierFeatures(std::int64_t inputs, std::int64_t features, double bandwidth, Generator& random);

  Tensor operator()(const Tensor& images) const;  // [n, d] of any real dtype -> [n, s]
  std::int64_t count() const { return 2 * frequencies_.size(0); }
  const Tensor& frequencies() const { return frequencies_; }  // [s/2, d]

 private:
  Tensor frequencies_;
};

// exp(-||x - x'||^2 / (2 bandwidth^2)) between the rows of a [n, d] and b [m, d]: [n, m].
Tensor gaussian_kernel(const Tensor& a, const Tensor& b, double bandwidth);

// The median distance between two of the images [n, d], a usual bandwidth for them. Of more than 1000 images, 1000 are
// drawn. Zero for a single image, and where most are the same.
double median_distance(const Tensor& images, Generator& random);

// The weights (1) [s, C], by a QR factorization of [Phi; sqrt(n lambda) I]: that does not square the condition number,
// as the normal equations do.
Tensor ridge_weights(const Tensor& features, const Tensor& targets, double ridge);

// The ridge leverage score of each row, phi_i^T (Phi^T Phi + n lambda I)^-1 phi_i: [n], in [0, 1). They sum to the
// number of effective degrees of freedom of the features' own kernel Phi Phi^T.
Tensor leverage_scores(const Tensor& features, double ridge);

// Labels for given points, so that ridge regression on the points returns given weights.
struct SolvedLabels {
  Tensor labels;                   // [m, C]
  Tensor weights;                  // [s, C]: of (1) on the points with these labels, solved on its own
  double relative_difference = 0;  // ||weights - w||_F / ||w||_F
  // Of Phi_S, at the tolerance max(m, s) eps sigma_1; the largest and smallest of the singular values that count to it.
  std::int64_t rank = 0;
  double largest = 0, smallest = 0;
  double condition = 0;  // of the map from labels to weights, in those directions
};
// With Phi_S = U Sigma V^T [m, s] of the points and w [s, C], equation (1) on the points reads
//
//   Phi_S^T y_S = (Phi_S^T Phi_S + m lambda I) w.
//
// Its left side and Phi_S^T Phi_S w lie in the row space of Phi_S. So for lambda > 0 it has a solution exactly where w
// lies in that row space too, and has one for every w exactly where Phi_S has rank s, for which m = s points in general
// position are enough. (The same in Chen, Huang & Weng, NeurIPS 2024, Theorem 4.2.) The solution of least norm is
//
//   y_S = U (Sigma + m lambda Sigma^-1) V^T w:
//
// what w predicts on the points, and besides what the ridge on the points will take off again, which is large where a
// singular value is small against m lambda. Where w is not in the row space these labels give its projection there, and
// the relative difference is how far off that is.
SolvedLabels solve_labels(const Tensor& features, const Tensor& weights, double ridge);

// How well features stand for a kernel on n images at the ridge lambda: the extreme eigenvalues of
// (K + n lambda I)^-1 (Phi Phi^T + n lambda I), both 1 where Phi Phi^T = K. Phi is a "Delta-spectral approximation"
// (Avron et al. 2017, arXiv 1804.09893) where both are within Delta of 1.
struct SpectralApproximation {
  double low = 1, high = 1;
  // sup over ||f||_H <= 1 of min over beta of 1/n ||f(X) - Phi beta||^2 + lambda ||beta||^2, with f in the kernel's
  // space H: lambda times the largest eigenvalue of K (Phi Phi^T + n lambda I)^-1, so at most lambda / low.
  double unit_ball = 0;
};

// Kernel ridge regression on all images, which the features stand for:
//
//   f = argmin 1/n ||f(X) - y||_F^2 + lambda ||f||_H^2,  f(X) = K (K + n lambda I)^-1 y.
class KernelRidge {
 public:
  // images [n, d], targets [n, C], K the Gaussian kernel. Takes n^2 numbers and of the order of n^3 operations.
  KernelRidge(const Tensor& images, const Tensor& targets, double bandwidth, double ridge);

  // d_k^lambda = tr K (K + n lambda I)^-1, the number of effective degrees of freedom.
  double degrees_of_freedom() const;
  const Tensor& fitted() const { return fitted_; }  // f(X) [n, C]
  Tensor predict(const Tensor& images) const;       // [m, d] -> [m, C]
  // The least value of the objective, J = lambda <y, (K + n lambda I)^-1 y>. Where y = g(X) with g in H,
  // J <= lambda ||g||_H^2.
  double objective() const { return objective_; }

  // Of features [n, s] of the same images.
  SpectralApproximation approximation(const Tensor& features) const;
  // What follows for the predictor Phi w of (1), and so for that of every set of points whose weights are the same.
  // With A = K + n lambda I and B = Phi Phi^T + n lambda I, so that y - Phi w = n lambda B^-1 y,
  //
  //   (2)  1/n ||Phi w - y||_F^2 + lambda ||w||_F^2 = lambda <y, B^-1 y> <= J / low
  //
  //   (3)  1/n ||Phi w - f(X)||_F^2 = n lambda^2 ||(B^-1 - A^-1) y||_F^2 <= eta^2 J,
  //
  //        eta = max(1/low - 1, 1 - 1/high),
  //
  // since B^-1 - A^-1 = A^-1/2 (A^1/2 B^-1 A^1/2 - I) A^-1/2, where ||A^-1/2||^2 <= 1/(n lambda) and the bracket's
  // eigenvalues are within eta of 0. Both hold for these very features, not just with high probability. At Delta = 1/2
  // they state: an objective of at most 2 J and, where y = g(X), a mean squared gap of at most lambda ||g||_H^2.
  double objective_bound(const SpectralApproximation& features) const { return objective_ / features.low; }  // of (2)
  double gap_bound(const SpectralApproximation& features) const;                                             // of (3)

 private:
  double bandwidth_, ridge_, objective_ = 0;
  Tensor images_, kernel_, factor_, coefficients_, fitted_;  // the factor is the Cholesky factor of A
};

// How many frequencies (half as many as features) are enough for a Delta-spectral approximation with probability
// 1 - failure at least, whatever the images are:
//
//   m = 8/3 / (lambda Delta^2) log(16 d_k^lambda / failure)  for Delta <= 1/2 and n lambda <= ||K||
//
// From the matrix Bernstein inequality with intrinsic dimension (Tropp 2015, Theorem 7.3.1) for the mean of the
// A^-1/2 z_j z_j^* A^-1/2, z_j = exp(i X omega_j), each of norm at most 1/lambda. For features drawn as these are, the
// growth with 1/lambda rather than with d_k^lambda is not an artefact (Avron et al. 2017, Theorems 9 and 10): features
// "of the order of d log d" are enough where frequencies are drawn by their own leverage scores.
double sufficient_frequencies(double ridge, double degrees_of_freedom, double delta, double failure);

}  // namespace afterimage
