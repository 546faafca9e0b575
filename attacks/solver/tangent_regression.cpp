#include "attacks/solver/tangent_regression.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "models/foundations/error.h"
#include "models/tangent/autograd.h"

namespace afterimage {
namespace {

constexpr double least_share = 1e-6;  // of the largest mean square, added to all: parameters that hardly get gradients
constexpr std::int64_t sign_draws = 16;  // at each point
constexpr double ridge_of_steps = 1e-4;  // over the mean diagonal
constexpr double least_residual = 1e-3;  // at which conjugate gradients stop
constexpr std::int64_t candidates_at_once = 256;
constexpr double smallest_norm = 1e-30;
constexpr std::int64_t most_features = 1 << 27;  // numbers in rows of features: 1 GiB

Tensor as_matrix(const Tensor& tensor) { return tensor.reshape({tensor.size(0), -1}); }

Tensor factor_of(const ParameterScale::Factors& factors) { return factors.rows.unsqueeze(1) * factors.columns; }

// Features of a dense layer times the scale: of the weight (delta rows) (below columns)^T, of the bias delta bias.
struct ScaledLayer {
  Tensor below;        // [n, n_{l-1}], undefined where the weight is left out
  Tensor delta, bias;  // [n k, n_l], those of weight and bias; undefined where left out
};
using ScaledLayers = std::vector<ScaledLayer>;

// `weights` [n, k, C]: k combinations of outputs for each image; undefined for the outputs themselves.
ScaledLayers scaled_layers(const DenseNetwork& network, const Parameters& point, const ParameterScale& scale,
                           const Tensor& images, const Tensor& weights) {
  ScaledLayers layers;
  std::size_t parameter = 0;
  for (auto& signals : network.layer_signals(point, images)) {
    const Tensor delta =
        (weights.defined() ? at::bmm(weights, signals.delta) : signals.delta).reshape({-1, signals.delta.size(2)});
    ScaledLayer layer;
    if (scale.includes(parameter)) {
      const auto& [rows, columns] = scale.tensors[parameter];
      layer.below = signals.below * columns * signals.weight_scale;
      layer.delta = delta * rows;
    }
    if (scale.includes(parameter + 1)) layer.bias = delta * factor_of(scale.tensors[parameter + 1]).squeeze(1);
    layers.push_back(std::move(layer));
    parameter += 2;
  }
  return layers;
}

// Their kernel, [n k, m k'].
Tensor kernel(const ScaledLayers& a, const ScaledLayers& b) {
  Tensor sum;
  const auto add = [&](const Tensor& part) { sum = sum.defined() ? sum.add_(part) : part; };
  for (std::size_t l = 0; l < a.size(); ++l) {
    if (a[l].below.defined()) {
      const std::int64_t n = a[l].below.size(0), m = b[l].below.size(0);
      Tensor signals = at::mm(a[l].delta, b[l].delta.t());
      const Tensor inputs = at::mm(a[l].below, b[l].below.t());
      signals.view({n, -1, m, signals.size(1) / m}).mul_(inputs.view({n, 1, m, 1}));
      add(signals);
    }
    if (a[l].bias.defined()) add(at::mm(a[l].bias, b[l].bias.t()));
  }
  return sum;
}

// Features times the scale, the mean over the points: of dense networks by their layers, of others as rows.
class MeanFeatures {
 public:
  MeanFeatures(const TangentPath& path, const ParameterScale& scale, const Tensor& images, const Tensor& weights = {}) {
    if (const DenseNetwork* dense = as_dense(path.network)) {
      for (const auto& point : path.points) points_.push_back(scaled_layers(*dense, point, scale, images, weights));
    } else {
      rows_ = rows_of(path, scale, images, weights);
    }
  }

  Tensor with(const MeanFeatures& other) const {
    if (rows_.defined()) return at::mm(rows_, other.rows_.t());
    Tensor sum;
    for (const auto& a : points_) {
      for (const auto& b : other.points_) {
        const Tensor part = kernel(a, b);
        sum = sum.defined() ? sum.add_(part) : part;
      }
    }
    return sum.div_(static_cast<double>(points_.size() * other.points_.size()));
  }

  // Their squared norms, [n k].
  Tensor squares() const {
    if (rows_.defined()) return rows_.square().sum(1);
    Tensor sum;
    for (const auto& a : points_) {
      for (const auto& b : points_) {
        const Tensor part = products(a, b);
        sum = sum.defined() ? sum.add_(part) : part;
      }
    }
    return sum.div_(static_cast<double>(points_.size() * points_.size()));
  }

 private:
  // The diagonal of their kernel, [n k].
  static Tensor products(const ScaledLayers& a, const ScaledLayers& b) {
    Tensor sum;
    const auto add = [&](const Tensor& part) { sum = sum.defined() ? sum.add_(part) : part; };
    for (std::size_t l = 0; l < a.size(); ++l) {
      if (a[l].below.defined()) {
        const Tensor signals = (a[l].delta * b[l].delta).sum(1), inputs = (a[l].below * b[l].below).sum(1);
        add(signals * inputs.repeat_interleave(signals.size(0) / inputs.size(0)));
      }
      if (a[l].bias.defined()) add((a[l].bias * b[l].bias).sum(1));
    }
    return sum;
  }

  // [n k, P], image by image.
  static Tensor rows_of(const TangentPath& path, const ParameterScale& scale, const Tensor& images,
                        const Tensor& weights) {
    const std::int64_t outputs = path.network.outputs(), each = weights.defined() ? weights.size(1) : outputs;
    const auto options = path.drift[0].options();
    const Tensor unit = at::eye(outputs, options);
    Tensor rows = at::empty({images.size(0) * each, path.parameters}, options);
    for (std::int64_t i = 0; i < images.size(0); ++i) {
      for (std::int64_t k = 0; k < each; ++k) {
        const Tensor combination = weights.defined() ? weights[i][k] : unit[k];
        const Parameters feature = path.combined(images.narrow(0, i, 1), combination.unsqueeze(0));
        std::int64_t first = 0;
        for (std::size_t parameter = 0; parameter < feature.size(); ++parameter) {
          if (!scale.includes(parameter)) continue;
          const Tensor scaled = (as_matrix(feature[parameter]) * factor_of(scale.tensors[parameter])).flatten();
          rows[i * each + k].narrow(0, first, scaled.numel()).copy_(scaled);
          first += scaled.numel();
        }
      }
    }
    return rows;
  }

  std::vector<ScaledLayers> points_;
  Tensor rows_;
};

double square(double value) { return value * value; }

// The Cholesky factor of K + r and the logarithm of the determinant of K / r + 1; nothing where it has none.
std::optional<std::pair<Tensor, double>> factored(const Tensor& k, double ridge) {
  Tensor shifted = k.clone();
  shifted.diagonal().add_(ridge);
  const auto [factor, info] = at::linalg_cholesky_ex(shifted);
  if (info.item<int>() != 0) return std::nullopt;
  const double log_determinant = 2 * factor.diagonal().log().sum().item<double>();
  return std::pair(factor, log_determinant - static_cast<double>(k.size(0)) * std::log(ridge));
}

}  // namespace

Parameters ParameterScale::times(const Parameters& parameters) const {
  return parameters.each([&](std::size_t i, const Tensor& tensor) {
    return includes(i) ? (as_matrix(tensor) * factor_of(tensors[i])).view_as(tensor) : at::zeros_like(tensor);
  });
}

Parameters ParameterScale::times_square(const Parameters& parameters) const {
  return parameters.each([&](std::size_t i, const Tensor& tensor) {
    return includes(i) ? (as_matrix(tensor) * factor_of(tensors[i]).square()).view_as(tensor) : at::zeros_like(tensor);
  });
}

Parameters ParameterScale::over(const Parameters& parameters) const {
  return parameters.each([&](std::size_t i, const Tensor& tensor) {
    return includes(i) ? (as_matrix(tensor) / factor_of(tensors[i])).view_as(tensor) : at::zeros_like(tensor);
  });
}

TangentPath::TangentPath(const TrainedNetwork& released, const std::vector<double>& along, at::ScalarType dtype)
    : network(*released.network) {
  const Parameters initial = released.initial.to(at::kDouble), trained = released.trained.to(at::kDouble);
  for (const auto& point : points_between(initial, trained, along)) points.push_back(point.to(dtype));
  drift = trained.minus(initial).to(dtype);
  const std::vector<bool> is_changed = moved(drift);
  for (std::size_t i = 0; i < drift.size(); ++i) parameters += is_changed[i] ? drift[i].numel() : 0;
}

Tensor TangentPath::along(const Parameters& direction, const Tensor& images) const {
  Tensor sum;
  for (const auto& point : points) {
    const Tensor part = network.pushforward(point, direction, images);
    sum = sum.defined() ? sum + part : part;
  }
  return sum / static_cast<double>(points.size());
}

Parameters TangentPath::combined(const Tensor& images, const Tensor& coefficients) const {
  const Tensor shared = coefficients / static_cast<double>(points.size());
  std::optional<Parameters> sum;
  for (const auto& point : points) {
    Parameters part = network.pullback(point, images, [&](const Tensor&) { return shared; });
    sum = sum ? sum->plus(part) : std::move(part);
  }
  return *sum;
}

ParameterScale plain_scale(const TangentPath& path) {
  const std::vector<bool> is_changed = moved(path.drift);
  ParameterScale scale;
  for (std::size_t i = 0; i < path.drift.size(); ++i) {
    const Tensor matrix = as_matrix(path.drift[i]);
    if (is_changed[i]) {
      scale.tensors.push_back(
          {at::ones({matrix.size(0)}, matrix.options()), at::ones({matrix.size(1)}, matrix.options())});
    } else {
      scale.tensors.emplace_back();
    }
  }
  return scale;
}

ParameterScale adam_scale(const TangentPath& path, std::optional<LossKind> loss, const Candidates& candidates,
                          Generator& random) {
  ParameterScale means = plain_scale(path);  // of squares, by rows and by columns
  for (auto& [rows, columns] : means.tensors) {
    if (rows.defined()) rows.zero_(), columns.zero_();
  }
  const std::int64_t outputs = path.network.outputs();
  const bool fits = candidates.targets.defined() && candidates.targets.size(1) == outputs;
  if (!loss) loss = outputs > 1 ? LossKind::cross_entropy : LossKind::squared;
  for (const auto& point : path.points) {
    for (std::int64_t draw = 0; draw < sign_draws; ++draw) {
      const Parameters gradient = path.network.pullback(point, candidates.images, [&](const Tensor& values) {
        const auto signs = [&](at::IntArrayRef shape) {
          return at::randint(0, 2, shape, random, values.options()).mul_(2).sub_(1);
        };
        if (!fits) return signs(values.sizes());
        return cotangents(*loss, values, candidates.targets.to(values.scalar_type())) * signs({values.size(0), 1});
      });
      for (std::size_t i = 0; i < gradient.size(); ++i) {
        if (!means.includes(i)) continue;
        const Tensor squares = as_matrix(gradient[i]).square();
        means.tensors[i].rows.add_(squares.mean(1));
        means.tensors[i].columns.add_(squares.mean(0));
      }
    }
  }
  for (auto& [rows, columns] : means.tensors) {
    if (!rows.defined()) continue;
    const double mean = rows.mean().item<double>();
    if (!(mean > 0)) {  // no gradient: as it is
      rows.fill_(1);
      columns.fill_(1);
      continue;
    }
    const auto factor = [&](const Tensor& squares) {
      return (squares / std::sqrt(mean)).add_(least_share * squares.max().item<double>() / std::sqrt(mean)).pow_(-0.25);
    };
    rows = factor(rows);
    columns = factor(columns);
  }
  return means;
}

bool solves_exactly(const TrainedNetwork& released, std::int64_t images) {
  const std::int64_t rows = images * released.network->outputs();
  const bool formed = released.dense() != nullptr || rows * released.trained.count() <= most_features;
  return rows <= largest_exact_kernel && formed;
}

at::ScalarType dtype_for(const TrainedNetwork& released, std::int64_t images) {
  return solves_exactly(released, images) ? at::kDouble : at::kFloat;
}

TangentRegression regress_exactly(const TangentPath& path, const ParameterScale& scale, const Tensor& images) {
  const MeanFeatures features(path, scale, images);
  const Tensor k = features.with(features), b = path.along(path.drift, images).reshape({-1, 1});
  const double mean_diagonal = k.diagonal().mean().item<double>();
  const double whole = scale.over(path.drift).squared_norm(), count = static_cast<double>(path.parameters);
  TangentRegression best;
  double most = -std::numeric_limits<double>::infinity();
  for (double exponent = -1; exponent >= -7; exponent -= 0.5) {
    const double ridge = std::pow(10.0, exponent);
    const auto solution = factored(k, ridge * mean_diagonal);
    if (!solution) break;
    const Tensor a = at::cholesky_solve(b, solution->first);
    const double explained = (a * b).sum().item<double>();
    const double rest = std::max(whole - explained, std::numeric_limits<double>::min());
    const double evidence = -0.5 * (count * std::log(rest) + solution->second);
    if (evidence <= most) continue;
    most = evidence;
    best.ridge = ridge;
    best.factor = solution->first;
    best.coefficients = a;
    // |h/s|^2 - 2 a b + a K a, where K a = b - r a.
    best.relative_residual =
        std::max(0.0, whole - explained - ridge * mean_diagonal * a.square().sum().item<double>()) / whole;
  }
  if (!best.coefficients.defined()) throw NotApplicable("the candidates' tangent features are not finite");
  best.coefficients = best.coefficients.view({images.size(0), -1});
  return best;
}

TangentRegression regress_by_steps(const TangentPath& path, const ParameterScale& scale, const Tensor& images,
                                   std::int64_t steps, double ridge, Progress& progress) {
  const Tensor b = path.along(path.drift, images);
  // The mean diagonal of K: that of |s Phi^T v|^2 over random signs v.
  Generator random = seeded(static_cast<std::uint64_t>(images.size(0)));
  double trace = 0;
  constexpr int probes = 8;
  for (int probe = 0; probe < probes; ++probe) {
    const Tensor signs = at::randint(0, 2, b.sizes(), random, b.options()).mul_(2).sub_(1);
    trace += scale.times(path.combined(images, signs)).squared_norm() / probes;
  }
  const double shift = ridge * trace / static_cast<double>(b.numel());
  TangentRegression result;
  result.ridge = ridge;
  Tensor a = at::zeros_like(b), rest = b.clone(), direction = b.clone();
  double size = rest.square().sum().item<double>();
  const double small = square(least_residual) * size;
  while (result.steps < steps && size > small && size > 0) {
    progress.step(result.steps, steps,
                  fmt::format("residual {:.2g}", std::sqrt(size / b.square().sum().item<double>())));
    if (progress.out_of_time()) break;
    const Tensor image =
        path.along(scale.times_square(path.combined(images, direction)), images).add_(direction, shift);
    const double length = size / (direction * image).sum().item<double>();
    if (!std::isfinite(length)) throw NotApplicable("the candidates' tangent features are not finite");
    a.add_(direction, length);
    rest.sub_(image, length);
    const double next = rest.square().sum().item<double>();
    direction = rest + direction * (next / size);
    size = next;
    ++result.steps;
  }
  result.coefficients = a;
  const Parameters left = scale.over(path.drift).plus(scale.times(path.combined(images, a)), -1);
  result.relative_residual = left.squared_norm() / scale.over(path.drift).squared_norm();
  return result;
}

TangentRegression regress(const TangentPath& path, const ParameterScale& scale, const Tensor& images,
                          std::int64_t steps, Progress& progress) {
  return path.points.front().dtype() == at::kDouble
             ? regress_exactly(path, scale, images)
             : regress_by_steps(path, scale, images, steps, ridge_of_steps, progress);
}

Tensor partial_t_values(const TangentPath& path, const ParameterScale& scale, const Tensor& background,
                        const TangentRegression& regression, const Tensor& images, const Tensor& weights,
                        Progress& progress) {
  const Parameters explained = scale.times_square(path.combined(background, regression.coefficients));
  const Parameters left = path.drift.plus(explained, -1);
  const Tensor given = weights.to(left.dtype());
  const Tensor along = (path.along(left, images) * given).sum(1);
  Tensor squares = at::empty_like(along);  // of psi, or of what the background leaves of it
  if (regression.factor.defined()) {
    const MeanFeatures known(path, scale, background);
    for (const auto& [first, count] : ranges(images.size(0), candidates_at_once)) {
      progress.step(first, images.size(0), "features of candidates");
      const MeanFeatures part(path, scale, images.narrow(0, first, count), given.narrow(0, first, count).unsqueeze(1));
      const Tensor half = at::linalg_solve_triangular(regression.factor, known.with(part), /*upper=*/false);
      squares.narrow(0, first, count).copy_(part.squares() - half.square().sum(0));
    }
  } else {
    for (std::int64_t i = 0; i < images.size(0); ++i) {
      progress.step(i, images.size(0), "norms of features");
      const Parameters feature = path.combined(images.narrow(0, i, 1), given.narrow(0, i, 1));
      squares[i] = scale.times(feature).squared_norm();
    }
  }
  return along / squares.clamp_min(smallest_norm).sqrt();
}

}  // namespace afterimage
