// Fully connected networks whose weights have a diagonal Gaussian distribution, and what learning one task after
// another with them needs: FiLM, the tempered divergence between two such distributions, and a diagonal of the
// curvature.
#pragma once

#include <functional>
#include <vector>

#include "models/mlp.h"
#include "models/training.h"

namespace afterimage {

// theta ~ N(mean, diag variance), entry by entry. Where the variance has no entries the weights are certain.
struct DiagonalGaussian {
  Parameters mean, variance;

  bool is_certain() const { return variance.size() == 0; }

  Parameters draw(Generator& random) const;
};

// FiLM (Perez et al., AAAI 2018, arXiv 1709.07871): each hidden neuron's input z becomes scale z + shift before the
// ReLU. Tensors [n_l], one for each hidden layer; without any, nothing is changed. It is linear, so that it folds into
// the layer's weights: scale W and scale b + shift.
struct Film {
  std::vector<Tensor> scale, shift;

  static Film identity(const Mlp& network);
  bool empty() const { return scale.empty(); }
  Parameters folded(const Parameters& parameters) const;
  DiagonalGaussian folded(const DiagonalGaussian& weights) const;
};

// Derivatives by the weights before FiLM, and by FiLM, from those by the folded weights. `by_variance` has no entries
// where the weights are fixed.
struct FilmGradient {
  Parameters by_mean, by_variance;
  Film by_film;
};
FilmGradient through(const Film& film, const DiagonalGaussian& weights, const Parameters& by_folded_mean,
                     const Parameters& by_folded_variance);

// Standard normal numbers for sampled_pullback(): for each layer, what is drawn for its outputs, [S, n, n_l].
std::vector<Tensor> draw_noise(const Mlp& network, std::int64_t samples, std::int64_t images, Generator& random);

// Derivatives of a mean loss by the mean and the variance of the weights by local reparameterization (Kingma, Salimans
// & Welling, NeurIPS 2015, arXiv 1506.02557): a layer's outputs are z = m + sqrt(v) e with m = s W h + b of the means,
// v = s^2 Var(W) h^2 + Var(b) and e the noise. `cotangents` gives the derivatives [S n, C] by the outputs of S draws,
// all images of the first draw first.
struct SampledGradient {
  Parameters by_mean, by_variance;
};
SampledGradient sampled_pullback(const Mlp& network, const DiagonalGaussian& weights, const Tensor& images,
                                 const std::vector<Tensor>& noise,
                                 const std::function<Tensor(const Tensor& outputs)>& cotangents);

// The tempered divergence of GVCL (Loo, Swaroop & Turner, ICLR 2021, arXiv 2011.12328, section 2), summed over all
// weights:
//   KL = 1/2 sum [ log(v' / v) + v / v' - 1 + (m - m')^2 pull ],  pull = lambda max(1 / v' - 1 / v_0, 0) + 1 / v_0,
// from N(m, v) to the belief before, N(m', v'); v_0 is the variance of the prior. With lambda = 1 and v' <= v_0 it is
// the Kullback-Leibler divergence.
class TemperedDivergence {
 public:
  // m' and v' of one tensor of weights.
  TemperedDivergence(const Tensor& mean_before, const Tensor& variance_before, double lambda, double prior_variance);

  double value(const Tensor& mean, const Tensor& variance) const;
  // Add `factor` times the derivatives by m and by log v.
  void add_by_mean(Tensor& to, const Tensor& mean, double factor) const;
  void add_by_log_variance(Tensor& to, const Tensor& variance, double factor) const;

 private:
  Tensor mean_before_, precision_before_, pull_;
};

// The diagonal of the Gauss-Newton matrix of the loss summed over images [n, d]: sum_j J_j^T H_j J_j with J_j the
// derivatives of the outputs by the parameters and H_j that of the loss by the outputs; with logistic and
// cross-entropy losses it is the Fisher information. In closed form, one pass for each output.
Parameters gauss_newton_diagonal(const Mlp& network, const Parameters& parameters, const Tensor& images, LossKind loss);

// The same by the weights before FiLM.
Parameters before_film(const Film& film, const Parameters& folded_diagonal);

}  // namespace afterimage
