#include "models/tangent/analytic_ntk.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <stdexcept>

#include "models/compute.h"

namespace afterimage {
namespace {

constexpr std::size_t most_layers = 32;
constexpr std::int64_t rows_a_block = 128;
// sin of the angle below which the slope at the cusp is set to zero: rounding would decide on its direction.
template <class T>
constexpr T smallest_sine = std::is_same_v<T, double> ? T(1e-7) : T(1e-4);

// Built-ins: calls of std:: functions are not inlined into loops that are compiled for other machines.
[[gnu::always_inline]] inline double root_of(double x) { return __builtin_sqrt(x); }
[[gnu::always_inline]] inline float root_of(float x) { return __builtin_sqrtf(x); }

// acos for values in [-1, 1]. In float32 by the polynomial of Abramowitz and Stegun 4.4.46 (absolute error 2e-8 before
// rounding, 4e-7 after it), which keeps the square root at 1 and is inlined into the vectorised loops below. LibTorch's
// vector function (SLEEF, error 1.2e-7) takes 1.7 times as long even by itself, 1.55 against 0.92 ns a value on a Xeon
// with AVX-512, and would need a pass over memory for each layer. In float64 LibTorch's takes 3.5 ns and std::acos 28,
// but the two differ in the last digit, and results of a seed are to stay the same.
inline double angle_of(double x) { return std::acos(x); }
[[gnu::always_inline]] inline float angle_of(float x) {
  const float u = __builtin_fabsf(x);
  float p = -0.0012624911F;
  p = p * u + 0.0066700901F;
  p = p * u - 0.0170881256F;
  p = p * u + 0.0308918810F;
  p = p * u - 0.0501743046F;
  p = p * u + 0.0889789874F;
  p = p * u - 0.2145988016F;
  p = p * u + 1.5707963050F;
  const float angle = root_of(1 - u) * p;
  return x < 0 ? std::numbers::pi_v<float> - angle : angle;
}

template <class T>
struct Constants {
  T v, u, g, t;
};

template <class T>
std::vector<Constants<T>> constants(const std::vector<AnalyticNtk::Layer>& layers) {
  std::vector<Constants<T>> result;
  result.reserve(layers.size());
  for (const auto& layer : layers) {
    result.push_back({static_cast<T>(layer.weight_variance), static_cast<T>(layer.bias_variance),
                      static_cast<T>(layer.weight_gain), static_cast<T>(layer.bias_gain)});
  }
  return result;
}

// The values that depend on one image only, for each hidden layer in turn: the square root of the variance of z, its
// reciprocal, and the variance's derivative by n = |x|^2 / d over the variance; and k(x, x) with its derivative by n.
// The reciprocal of zero is set to zero.
template <class T>
struct Own {
  std::int64_t count;
  std::vector<T> root, inverse_root, slope;  // [hidden x count]
  std::vector<T> kernel, kernel_slope;       // [count]
};

template <class T>
Own<T> own_of(const Tensor& images, const std::vector<Constants<T>>& layers) {
  const Tensor n = (images * images).sum(1).div_(static_cast<double>(images.size(1))).contiguous();
  const std::size_t hidden = layers.size() - 1, count = static_cast<std::size_t>(n.numel());
  Own<T> own{n.numel(),
             std::vector<T>(hidden * count),
             std::vector<T>(hidden * count),
             std::vector<T>(hidden * count),
             std::vector<T>(count),
             std::vector<T>(count)};
  for (std::size_t i = 0; i < count; ++i) {
    const T norm = n.data_ptr<T>()[i];
    T sigma = layers[0].v * norm + layers[0].u, sigma_slope = layers[0].v;
    T theta = layers[0].g * norm + layers[0].t, theta_slope = layers[0].g;
    for (std::size_t l = 0; l < hidden; ++l) {
      own.root[l * count + i] = std::sqrt(sigma);
      own.inverse_root[l * count + i] = sigma > 0 ? 1 / std::sqrt(sigma) : T(0);
      own.slope[l * count + i] = sigma > 0 ? sigma_slope / sigma : T(0);
      const auto& next = layers[l + 1];
      theta = next.g * sigma / 2 + next.t + next.v * theta / 2;
      theta_slope = next.g * sigma_slope / 2 + next.v * theta_slope / 2;
      sigma = next.v * sigma / 2 + next.u;
      sigma_slope *= next.v / 2;
    }
    own.kernel[i] = theta;
    own.kernel_slope[i] = theta_slope;
  }
  return own;
}

// Two images at one layer, by the cosine between them, which rounding may have put outside [-1, 1].
template <class T>
struct Angle {
  T cosine, sine, open;  // open: pi less the angle
};
template <class T>
[[gnu::always_inline]] inline Angle<T> angle_at(T cosine) {
  cosine = cosine > 1 ? T(1) : cosine;
  cosine = cosine < -1 ? T(-1) : cosine;
  return {cosine, root_of((1 - cosine) * (1 + cosine)), std::numbers::pi_v<T> - angle_of(cosine)};
}

// One image x of `rows` against all of `columns`: c = <x, x'> / d in `kernel` becomes k(x, x').
template <int fixed_hidden, class T>
[[gnu::always_inline]] inline void kernels(const Own<T>& rows, std::int64_t row, const Own<T>& columns,
                                           const std::vector<Constants<T>>& layers, T* kernel) {
  constexpr T pi = std::numbers::pi_v<T>;
  const int hidden = fixed_hidden > 0 ? fixed_hidden : static_cast<int>(layers.size()) - 1;
  const Constants<T>* constant = layers.data();
  const T *root = columns.root.data(), *inverse = columns.inverse_root.data();
  const std::int64_t n = columns.count, m = rows.count;
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) {
    T sigma = constant[0].v * kernel[j] + constant[0].u, theta = constant[0].g * kernel[j] + constant[0].t;
    for (int l = 0; l < hidden; ++l) {
      const T r = rows.root[l * m + row] * root[l * n + j];
      const auto [rho, sine, open] = angle_at(sigma * rows.inverse_root[l * m + row] * inverse[l * n + j]);
      const T s = r * (rho * open + sine) / (2 * pi), slope = open / (2 * pi);
      theta = constant[l + 1].g * s + constant[l + 1].t + constant[l + 1].v * theta * slope;
      sigma = constant[l + 1].v * s + constant[l + 1].u;
    }
    kernel[j] = theta;
  }
}

// Likewise for the images [from, to) of `columns`, and `weight` is multiplied by dk/dc. Returns the sum of weights
// times dk/dn, n = |x|^2 / d.
template <int fixed_hidden, class T>
[[gnu::always_inline]] inline T slopes(const Own<T>& rows, std::int64_t row, const Own<T>& columns,
                                       const std::vector<Constants<T>>& layers, std::int64_t from, std::int64_t to,
                                       T* kernel, T* weight) {
  constexpr T pi = std::numbers::pi_v<T>;
  constexpr std::size_t room = fixed_hidden > 0 ? fixed_hidden : most_layers;
  const int hidden = fixed_hidden > 0 ? fixed_hidden : static_cast<int>(layers.size()) - 1;
  const Constants<T>* constant = layers.data();
  const T *root = columns.root.data(), *inverse = columns.inverse_root.data();
  const std::int64_t n = columns.count, m = rows.count;
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t j = from; j < to; ++j) {
    T rhos[room], sines[room], opens[room], thetas[room];
    T sigma = constant[0].v * kernel[j] + constant[0].u, theta = constant[0].g * kernel[j] + constant[0].t;
    for (int l = 0; l < hidden; ++l) {
      const T r = rows.root[l * m + row] * root[l * n + j];
      const auto [rho, sine, open] = angle_at(sigma * rows.inverse_root[l * m + row] * inverse[l * n + j]);
      rhos[l] = rho;
      sines[l] = sine > smallest_sine<T> ? sine : smallest_sine<T>;
      opens[l] = open;
      thetas[l] = theta;
      const T s = r * (rho * open + sine) / (2 * pi);
      theta = constant[l + 1].g * s + constant[l + 1].t + constant[l + 1].v * theta * open / (2 * pi);
      sigma = constant[l + 1].v * s + constant[l + 1].u;
    }
    kernel[j] = theta;
    // Backwards: derivatives of the result by theta, sigma and n.
    T by_theta = 1, by_sigma = 0, by_n = 0;
    for (int l = hidden - 1; l >= 0; --l) {
      const T by_s = constant[l + 1].g * by_theta + constant[l + 1].v * by_sigma;
      const T by_slope = constant[l + 1].v * thetas[l] * by_theta;
      const T r = rows.root[l * m + row] * root[l * n + j];
      by_sigma =
          (by_s * opens[l] + by_slope / sines[l] * rows.inverse_root[l * m + row] * inverse[l * n + j]) / (2 * pi);
      by_n += (by_s * sines[l] * r - by_slope * rhos[l] / sines[l]) * rows.slope[l * m + row] / (4 * pi);
      by_theta *= constant[l + 1].v * opens[l] / (2 * pi);
    }
    sum += weight[j] * by_n;
    weight[j] *= constant[0].v * by_sigma + constant[0].g * by_theta;
  }
  return sum;
}

// In float32, the usual depths unrolled, for the vector units that a machine may have. std::acos does not
// vectorise, so float64 has one loop for all depths.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
[[gnu::target_clones("arch=skylake-avx512", "arch=haswell", "default")]]
#endif
void kernel_row(const Own<float>& rows, std::int64_t row, const Own<float>& columns,
                const std::vector<Constants<float>>& layers, float* kernel) {
  switch (layers.size()) {
    case 2:
      return kernels<1>(rows, row, columns, layers, kernel);
    case 3:
      return kernels<2>(rows, row, columns, layers, kernel);
    case 4:
      return kernels<3>(rows, row, columns, layers, kernel);
    default:
      return kernels<0>(rows, row, columns, layers, kernel);
  }
}

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
[[gnu::target_clones("arch=skylake-avx512", "arch=haswell", "default")]]
#endif
float slope_row(const Own<float>& rows, std::int64_t row, const Own<float>& columns,
                const std::vector<Constants<float>>& layers, std::int64_t from, std::int64_t to, float* kernel,
                float* weight) {
  switch (layers.size()) {
    case 2:
      return slopes<1>(rows, row, columns, layers, from, to, kernel, weight);
    case 3:
      return slopes<2>(rows, row, columns, layers, from, to, kernel, weight);
    case 4:
      return slopes<3>(rows, row, columns, layers, from, to, kernel, weight);
    default:
      return slopes<0>(rows, row, columns, layers, from, to, kernel, weight);
  }
}

template <class T>
void kernel_row(const Own<T>& rows, std::int64_t row, const Own<T>& columns, const std::vector<Constants<T>>& layers,
                T* kernel) {
  kernels<0>(rows, row, columns, layers, kernel);
}

template <class T>
T slope_row(const Own<T>& rows, std::int64_t row, const Own<T>& columns, const std::vector<Constants<T>>& layers,
            std::int64_t from, std::int64_t to, T* kernel, T* weight) {
  return slopes<0>(rows, row, columns, layers, from, to, kernel, weight);
}

// Runs `work(first, count)` for blocks of `rows` rows on all threads; a matrix product stays on the thread that calls
// it.
template <class Work>
void for_blocks(std::int64_t rows, const Work& work) {
  const SerialProducts serial;
  const std::int64_t blocks = (rows + rows_a_block - 1) / rows_a_block;
  at::parallel_for(0, blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      work(i * rows_a_block, std::min(rows_a_block, rows - i * rows_a_block));
    }
  });
}

void require_images(const Tensor& a, const Tensor& b) {
  if (a.dim() != 2 || b.dim() != 2 || a.size(1) != b.size(1) || a.scalar_type() != b.scalar_type()) {
    throw std::invalid_argument("a kernel takes images [M, d] and [N, d] of one dtype");
  }
}

}  // namespace

AnalyticNtk::AnalyticNtk(std::vector<Layer> layers) : layers_(std::move(layers)) {
  if (layers_.size() < 2 || layers_.size() > most_layers) {
    throw std::invalid_argument("an analytic kernel has 2 to 32 layers, including the output layer");
  }
  for (const auto& layer : layers_) {
    for (const double value : {layer.weight_variance, layer.bias_variance, layer.weight_gain, layer.bias_gain}) {
      if (!std::isfinite(value) || value < 0) {
        throw std::invalid_argument("variances and gains of a kernel have to be finite and not negative");
      }
    }
  }
}

AnalyticNtk AnalyticNtk::uniform(std::int64_t hidden, double weight_variance, double bias_variance) {
  return AnalyticNtk(std::vector<Layer>(static_cast<std::size_t>(hidden + 1),
                                        Layer{weight_variance, bias_variance, weight_variance, bias_variance}));
}

Tensor AnalyticNtk::operator()(const Tensor& a, const Tensor& b) const {
  require_images(a, b);
  const bool same = a.is_same(b);
  const double pixels = static_cast<double>(a.size(1));
  Tensor kernel = at::empty({a.size(0), b.size(0)}, a.options());
  AT_DISPATCH_FLOATING_TYPES(a.scalar_type(), "analytic_ntk", [&] {
    const auto layers = constants<scalar_t>(layers_);
    const auto rows = own_of(a, layers), columns = same ? rows : own_of(b, layers);
    for_blocks(a.size(0), [&](std::int64_t first, std::int64_t count) {
      Tensor block = kernel.narrow(0, first, count);
      at::mm_out(block, a.narrow(0, first, count), b.t());
      block.div_(pixels);
      for (std::int64_t i = 0; i < count; ++i) {
        auto* k = block.data_ptr<scalar_t>() + i * columns.count;
        kernel_row(rows, first + i, columns, layers, k);
        if (same) k[first + i] = rows.kernel[first + i];
      }
    });
  });
  return kernel;
}

Tensor AnalyticNtk::diagonal(const Tensor& a) const {
  Tensor result = at::empty({a.size(0)}, a.options());
  AT_DISPATCH_FLOATING_TYPES(a.scalar_type(), "analytic_ntk", [&] {
    const auto own = own_of(a, constants<scalar_t>(layers_));
    std::copy(own.kernel.begin(), own.kernel.end(), result.data_ptr<scalar_t>());
  });
  return result;
}

Tensor AnalyticNtk::diagonal_gradient(const Tensor& a) const {
  Tensor slope = at::empty({a.size(0), 1}, a.options());
  AT_DISPATCH_FLOATING_TYPES(a.scalar_type(), "analytic_ntk", [&] {
    const auto own = own_of(a, constants<scalar_t>(layers_));
    std::copy(own.kernel_slope.begin(), own.kernel_slope.end(), slope.data_ptr<scalar_t>());
  });
  return a * slope.mul_(2 / static_cast<double>(a.size(1)));
}

AnalyticNtk::Product AnalyticNtk::product(const Tensor& a, const Tensor& b, const Tensor& right,
                                          const Tensor& left) const {
  require_images(a, b);
  if (right.dim() != 2 || left.dim() != 2 || right.size(0) != b.size(0) || left.size(0) != a.size(0) ||
      left.size(1) != right.size(1)) {
    throw std::invalid_argument("a kernel product takes right [N, C] and left [M, C]");
  }
  const bool same = a.is_same(b);
  const double pixels = static_cast<double>(a.size(1));
  Product result{at::empty({a.size(0), right.size(1)}, a.options()), at::empty_like(a)};
  AT_DISPATCH_FLOATING_TYPES(a.scalar_type(), "analytic_ntk", [&] {
    const auto layers = constants<scalar_t>(layers_);
    const auto rows = own_of(a, layers), columns = same ? rows : own_of(b, layers);
    const std::int64_t n = columns.count;
    for_blocks(a.size(0), [&](std::int64_t first, std::int64_t count) {
      const Tensor images = a.narrow(0, first, count);
      Tensor kernel = at::mm(images, b.t()).div_(pixels);                // c, then k
      Tensor weights = at::mm(left.narrow(0, first, count), right.t());  // then times dk/dc
      Tensor by_norm = at::empty({count, 1}, a.options());
      for (std::int64_t i = 0; i < count; ++i) {
        auto* k = kernel.data_ptr<scalar_t>() + i * n;
        auto* w = weights.data_ptr<scalar_t>() + i * n;
        scalar_t sum = 0;
        if (const std::int64_t own = first + i; same) {
          sum = slope_row(rows, own, columns, layers, 0, own, k, w);
          sum += slope_row(rows, own, columns, layers, own + 1, n, k, w);
          sum += w[own] * rows.kernel_slope[own] / 2;
          k[own] = rows.kernel[own];
          w[own] = 0;
        } else {
          sum = slope_row(rows, own, columns, layers, 0, n, k, w);
        }
        by_norm.data_ptr<scalar_t>()[i] = sum;
      }
      Tensor values = result.values.narrow(0, first, count);
      at::mm_out(values, kernel, right);
      Tensor gradient = result.gradient.narrow(0, first, count);
      at::mm_out(gradient, weights, b);
      gradient.add_(images * by_norm.mul_(2)).div_(pixels);
    });
  });
  return result;
}

}  // namespace afterimage
