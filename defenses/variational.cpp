#include "defenses/variational.h"

#include <cmath>
#include <stdexcept>

namespace afterimage {
namespace {

std::size_t hidden_layers(const Parameters& parameters) { return parameters.size() / 2 - 1; }

// Each hidden layer's weight and bias times a power of its scale.
Parameters scaled(const Parameters& parameters, const std::vector<Tensor>& scale, int power) {
  return parameters.each([&](std::size_t i, const Tensor& tensor) -> Tensor {
    if (i / 2 >= scale.size()) return tensor;
    const Tensor factor = scale[i / 2].pow(power);
    return tensor * (i % 2 == 0 ? factor.unsqueeze(1) : factor);
  });
}

// H^(1/2) of the loss by the outputs [n, C], a column of each image's at a time: the sum over columns of their outer
// products is H.
std::vector<Tensor> roots_of_curvature(LossKind loss, const Tensor& outputs) {
  const std::int64_t classes = outputs.size(1);
  std::vector<Tensor> roots;
  if (loss == LossKind::logistic) {
    const Tensor probability = outputs.sigmoid();
    return {(probability * (1 - probability)).sqrt()};
  }
  const Tensor unit = at::eye(classes, outputs.options());
  if (loss == LossKind::squared) {
    for (std::int64_t c = 0; c < classes; ++c) roots.push_back(unit[c].expand_as(outputs).contiguous());
    return roots;
  }
  // diag p - p p^T = sum_c p_c (e_c - p)(e_c - p)^T.
  const Tensor probabilities = at::softmax(outputs, 1);
  for (std::int64_t c = 0; c < classes; ++c) {
    roots.push_back((unit[c] - probabilities) * probabilities.narrow(1, c, 1).sqrt());
  }
  return roots;
}

}  // namespace

Parameters DiagonalGaussian::draw(Generator& random) const {
  return mean.each([&](std::size_t i, const Tensor& centre) {
    return at::randn(centre.sizes(), random, centre.options()).mul_(variance[i].sqrt()).add_(centre);
  });
}

Film Film::identity(const Mlp& network) {
  Film film;
  const auto& sizes = network.sizes();
  for (std::size_t l = 1; l + 1 < sizes.size(); ++l) {
    film.scale.push_back(at::ones({sizes[l]}));
    film.shift.push_back(at::zeros({sizes[l]}));
  }
  return film;
}

Parameters Film::folded(const Parameters& parameters) const {
  if (empty()) return parameters;
  if (scale.size() != hidden_layers(parameters)) throw std::invalid_argument("FiLM of another number of layers");
  const Parameters result = scaled(parameters, scale, 1);
  for (std::size_t l = 0; l < scale.size(); ++l) result[2 * l + 1].add_(shift[l]);
  return result;
}

DiagonalGaussian Film::folded(const DiagonalGaussian& weights) const {
  return {folded(weights.mean), empty() ? weights.variance : scaled(weights.variance, scale, 2)};
}

FilmGradient through(const Film& film, const DiagonalGaussian& weights, const Parameters& by_folded_mean,
                     const Parameters& by_folded_variance) {
  if (film.empty()) return {by_folded_mean, by_folded_variance, {}};
  FilmGradient gradient{scaled(by_folded_mean, film.scale, 1), scaled(by_folded_variance, film.scale, 2), {}};
  for (std::size_t l = 0; l < film.scale.size(); ++l) {
    const std::size_t w = 2 * l, b = w + 1;
    Tensor by_scale = (by_folded_mean[w] * weights.mean[w]).sum(1).addcmul_(by_folded_mean[b], weights.mean[b]);
    if (by_folded_variance.size() > 0) {
      const Tensor by_square =
          (by_folded_variance[w] * weights.variance[w]).sum(1).addcmul_(by_folded_variance[b], weights.variance[b]);
      by_scale.addcmul_(by_square, film.scale[l], 2);
    }
    gradient.by_film.scale.push_back(by_scale);
    gradient.by_film.shift.push_back(by_folded_mean[b]);
  }
  return gradient;
}

std::vector<Tensor> draw_noise(const Mlp& network, std::int64_t samples, std::int64_t images, Generator& random) {
  std::vector<Tensor> noise;
  for (std::size_t l = 1; l < network.sizes().size(); ++l) {
    noise.push_back(at::randn({samples, images, network.sizes()[l]}, random, at::kFloat));
  }
  return noise;
}

SampledGradient sampled_pullback(const Mlp& network, const DiagonalGaussian& weights, const Tensor& images,
                                 const std::vector<Tensor>& noise,
                                 const std::function<Tensor(const Tensor& outputs)>& cotangents) {
  const Parameters &mean = weights.mean, &variance = weights.variance;
  const auto layers = static_cast<std::size_t>(network.layers());
  const std::int64_t samples = noise.front().size(0), n = images.size(0);
  constexpr double smallest_variance = 1e-30;  // of an output: its root is divided by
  std::vector<Tensor> below = {images.to(mean.dtype())}, squares(layers), deviations(layers);
  for (std::size_t l = 0; l < layers; ++l) {
    const double s = network.weight_scale(static_cast<std::int64_t>(l));
    squares[l] = below[l].square();
    const Tensor m = at::addmm(mean[2 * l + 1], below[l], mean[2 * l].t(), 1, s);
    deviations[l] =
        at::addmm(variance[2 * l + 1], squares[l], variance[2 * l].t(), 1, s * s).clamp_min_(smallest_variance).sqrt_();
    const Tensor e = l == 0 ? noise[l] : noise[l].flatten(0, 1);
    // In the first layer the same images are seen by all draws: [n, n_1] against [S, n, n_1].
    Tensor z = (e * deviations[l]).add_(m);
    if (l == 0) z = z.flatten(0, 1);
    if (l + 1 < layers) z.relu_();
    below.push_back(z);
  }
  std::vector<Parameters::Entry> by_mean(mean.size()), by_variance(mean.size());
  Tensor delta = cotangents(below.back());
  for (std::size_t l = layers; l-- > 0;) {
    const double s = network.weight_scale(static_cast<std::int64_t>(l));
    Tensor by_m = delta, by_v;
    if (l == 0) {
      const Tensor by_draw = delta.reshape({samples, n, -1});
      by_m = by_draw.sum(0);
      by_v = (by_draw * noise[0]).sum(0);
    } else {
      by_v = delta * noise[l].flatten(0, 1);
    }
    by_v.div_(deviations[l]).div_(2);
    const std::string &weight = mean.entries()[2 * l].first, &bias = mean.entries()[2 * l + 1].first;
    by_mean[2 * l] = {weight, at::mm(by_m.t(), below[l]).mul_(s)};
    by_mean[2 * l + 1] = {bias, by_m.sum(0)};
    by_variance[2 * l] = {weight, at::mm(by_v.t(), squares[l]).mul_(s * s)};
    by_variance[2 * l + 1] = {bias, by_v.sum(0)};
    if (l == 0) break;
    delta = at::mm(by_m, mean[2 * l]).mul_(s);
    delta.addcmul_(below[l], at::mm(by_v, variance[2 * l]), 2 * s * s).mul_(below[l] > 0);
  }
  return {Parameters(std::move(by_mean)), Parameters(std::move(by_variance))};
}

TemperedDivergence::TemperedDivergence(const Tensor& mean_before, const Tensor& variance_before, double lambda,
                                       double prior_variance)
    : mean_before_(mean_before), precision_before_(variance_before.reciprocal()) {
  const double prior = 1 / prior_variance;
  pull_ = (precision_before_ - prior).clamp_min_(0).mul_(lambda).add_(prior);
}

double TemperedDivergence::value(const Tensor& mean, const Tensor& variance) const {
  const Tensor ratio = variance * precision_before_;
  return 0.5 *
         (ratio - ratio.log() - 1).addcmul_((mean - mean_before_).square(), pull_).sum(at::kDouble).item<double>();
}

void TemperedDivergence::add_by_mean(Tensor& to, const Tensor& mean, double factor) const {
  to.addcmul_(mean - mean_before_, pull_, factor);
}

void TemperedDivergence::add_by_log_variance(Tensor& to, const Tensor& variance, double factor) const {
  to.addcmul_(variance, precision_before_, factor / 2).sub_(factor / 2);
}

Parameters gauss_newton_diagonal(const Mlp& network, const Parameters& parameters, const Tensor& images,
                                 LossKind loss) {
  const std::vector<Tensor> h = network.activations(parameters, images);
  const auto layers = static_cast<std::size_t>(network.layers());
  const Parameters diagonal = zeros_like(parameters);
  std::vector<Tensor> squares;
  for (std::size_t l = 0; l < layers; ++l) squares.push_back(h[l].square());
  for (Tensor delta : roots_of_curvature(loss, h.back())) {
    for (std::size_t l = layers; l-- > 0;) {
      const double s = network.weight_scale(static_cast<std::int64_t>(l));
      const Tensor square = delta.square();
      diagonal[2 * l].addmm_(square.t(), squares[l], 1, s * s);
      diagonal[2 * l + 1].add_(square.sum(0));
      if (l > 0) delta = at::mm(delta, parameters[2 * l]).mul_(s).mul_(h[l] > 0);
    }
  }
  return diagonal;
}

Parameters before_film(const Film& film, const Parameters& folded_diagonal) {
  return film.empty() ? folded_diagonal : scaled(folded_diagonal, film.scale, 2);
}

}  // namespace afterimage
