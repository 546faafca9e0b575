#include "models/tangent/mlp_tangents.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "models/compute.h"

namespace afterimage {
namespace {

constexpr std::int64_t fewest_images_a_chunk = 8;

// Sum of a_i b_i in float64, without a temporary and on one thread.
double sum_of_products(const Tensor& a, const Tensor& b) {
  double total = 0;
  AT_DISPATCH_FLOATING_TYPES(a.scalar_type(), "dot", [&] {
    const auto* x = a.data_ptr<scalar_t>();
    const auto* y = b.data_ptr<scalar_t>();
    double lanes[8] = {};  // independent sums, so that the loop vectorises
    std::int64_t i = 0;
    for (; i + 8 <= a.numel(); i += 8) {
      for (int k = 0; k < 8; ++k) lanes[k] += static_cast<double>(x[i + k]) * static_cast<double>(y[i + k]);
    }
    for (; i < a.numel(); ++i) total += static_cast<double>(x[i]) * static_cast<double>(y[i]);
    for (const double lane : lanes) total += lane;
  });
  return total;
}

// -2 sum a_i b_i + sum a_i c_i, then b - c into `difference`: the two sums of a layer's part of the loss in one pass.
double subtract_and_sum(const Tensor& a, const Tensor& b, const Tensor& c, Tensor difference) {
  double total = 0;
  AT_DISPATCH_FLOATING_TYPES(a.scalar_type(), "subtract_and_sum", [&] {
    const auto* x = a.data_ptr<scalar_t>();
    const auto* y = b.data_ptr<scalar_t>();
    const auto* z = c.data_ptr<scalar_t>();
    auto* out = difference.data_ptr<scalar_t>();
    double lanes[8] = {};
    const auto add = [&](std::int64_t i, double& sum) {
      sum += static_cast<double>(x[i]) * (static_cast<double>(z[i]) - 2 * static_cast<double>(y[i]));
      out[i] = y[i] - z[i];
    };
    std::int64_t i = 0;
    for (; i + 8 <= a.numel(); i += 8) {
      for (int k = 0; k < 8; ++k) add(i + k, lanes[k]);
    }
    for (; i < a.numel(); ++i) add(i, total);
    for (const double lane : lanes) total += lane;
  });
  return total;
}

// adjoint of z = s' (adjoint of h) + s'' z' (adjoint of h'), in place; s'' = beta s' (1 - s'), and s' (adjoint of h')
// is delta.
void bend(Tensor adjoint, const Tensor& slope, const Tensor& z_change, const Tensor& delta, Smoothing relu) {
  if (relu.is_relu()) {
    adjoint.mul_(slope);
    return;
  }
  AT_DISPATCH_FLOATING_TYPES(adjoint.scalar_type(), "bend", [&] {
    auto* a = adjoint.data_ptr<scalar_t>();
    const auto* s = slope.data_ptr<scalar_t>();
    const auto* c = z_change.data_ptr<scalar_t>();
    const auto* d = delta.data_ptr<scalar_t>();
    const auto beta = static_cast<scalar_t>(relu.beta);
    for (std::int64_t i = 0; i < adjoint.numel(); ++i) a[i] = s[i] * a[i] + beta * (1 - s[i]) * c[i] * d[i];
  });
}

void make(Tensor& buffer, at::IntArrayRef shape, at::ScalarType dtype) {
  buffer = at::empty(shape, at::TensorOptions().dtype(dtype));
}

// Runs `work` for each of `count` parts on all threads. An exception in one of them is thrown here.
template <class Work>
void in_parallel(std::int64_t count, const Work& work) {
  at::parallel_for(0, count, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) work(i);
  });
}

// [first, first + count) of `total` for one of `parts` parts.
std::pair<std::int64_t, std::int64_t> share(std::int64_t total, std::int64_t part, std::int64_t parts) {
  const std::int64_t first = total * part / parts;
  return {first, total * (part + 1) / parts - first};
}

}  // namespace

MlpTangents::MlpTangents(const std::vector<double>& weight_scales, const std::vector<Parameters>& points,
                         const Parameters& drift, const Tensor& basis)
    : squared_norm_(drift.squared_norm()) {
  if (points.empty()) throw std::invalid_argument("tangent features need at least one point");
  for (const auto& point : points) {
    if (point.size() != 2 * weight_scales.size() || drift.size() != point.size()) {
      throw std::invalid_argument("a fully connected network has a weight and a bias for each layer");
    }
  }
  const std::vector<bool> moving = moved(drift);
  const auto frozen = [&](std::size_t i) { return squared_norm_ > 0 && !moving[i]; };
  for (std::size_t l = 0; l < weight_scales.size(); ++l) {
    const double scale = weight_scales[l];
    const auto scaled = [&](const Tensor& weight) {
      const Tensor in_basis = l == 0 && basis.defined() ? at::mm(weight, basis.to(weight.scalar_type()).t()) : weight;
      return scale == 1 ? in_basis.contiguous() : at::mul(in_basis, scale).contiguous();
    };
    Layer layer;
    layer.scale2 = scale * scale;
    layer.weights = frozen(2 * l) ? 0 : layer.scale2;
    layer.biases = frozen(2 * l + 1) ? 0 : 1;
    layer.drift = scaled(drift[2 * l]);
    layer.bias_drift = drift[2 * l + 1].contiguous();
    layer.drift_norm2 =
        sum_of_products(layer.drift, layer.drift) / layer.scale2 + sum_of_products(layer.bias_drift, layer.bias_drift);
    for (const auto& point : points) {
      layer.weight.push_back(scaled(point[2 * l]));
      layer.bias.push_back(point[2 * l + 1].contiguous());
    }
    if (l > 0 && layer.drift.size(1) != layers_.back().drift.size(0)) {
      throw std::invalid_argument("layers do not chain");
    }
    layers_.push_back(std::move(layer));
  }
  rows_.resize(layers_.size());
}

void MlpTangents::reserve(std::int64_t images, std::int64_t chunks) {
  if (images == count_ && chunks == static_cast<std::int64_t>(chunks_.size())) return;
  count_ = images;
  chunks_.clear();
  for (std::int64_t i = 0; i < chunks; ++i) {
    const auto [first, count] = share(images, i, chunks);
    chunks_.push_back({first, count, first * point_count()});
  }
  const auto type = dtype();
  const std::int64_t rows = images * point_count();
  std::int64_t widest = 0;
  for (std::int64_t l = 0; l < depth(); ++l) {
    const std::int64_t out = layers_[l].drift.size(0), in = layers_[l].drift.size(1);
    Rows& buffers = rows_[l];
    for (Tensor* buffer : {&buffers.h, &buffers.slope, &buffers.delta, &buffers.change, &buffers.adjoint}) {
      make(*buffer, {rows, out}, type);
    }
    const std::int64_t acting = l == 0 ? images : rows;
    widest = std::max(widest, out);
    // Products beyond dW h and delta dW: one of in x out x rows to form R, four with Gram matrices.
    buffers.forms_residual = in * out < 2 * acting * (in + out);
    buffers.residual = buffers.bias_residual = buffers.gram = Tensor();
    if (buffers.forms_residual) {
      make(buffers.residual, {out, in}, type);
      make(buffers.bias_residual, {out}, type);
    } else {
      make(buffers.gram, {acting, acting}, type);
    }
    if (held_.rows > 0) make(buffers.cross, {held_.rows, acting}, type);
  }
  make(product_, {rows, widest}, type);
  if (point_count() == 1) {
    delta_sum_ = rows_.front().delta;
  } else {
    make(delta_sum_, {images, layers_.front().drift.size(0)}, type);
  }
  make(loss_.by_images, {images, dimension()}, type);
  make(loss_.by_coefficients, {images, features_per_image()}, type);
}

Tensor MlpTangents::chunk_of(const Tensor& rows, const Chunk& chunk) const {
  return rows.narrow(0, chunk.first_row, chunk.images * point_count());
}

Tensor MlpTangents::point_of(const Tensor& rows, const Chunk& chunk, std::int64_t point) const {
  return rows.narrow(0, chunk.first_row + point * chunk.images, chunk.images);
}

// The chunk's rows of a tensor that has a row per image for the first layer, and per image and point for the others.
Tensor MlpTangents::own(const Tensor& rows, std::int64_t layer, const Chunk& chunk) const {
  return layer == 0 ? rows.narrow(0, chunk.first_image, chunk.images) : chunk_of(rows, chunk);
}

// Scratch for a product with the chunk's rows of a layer's inputs, [own rows, n_l].
Tensor MlpTangents::product_of(const Chunk& chunk, std::int64_t layer) const {
  const std::int64_t rows = layer == 0 ? chunk.images : chunk.images * point_count(),
                     out = layers_[layer].drift.size(0);
  return chunk_of(product_, chunk).view({-1}).narrow(0, 0, rows * out).view({rows, out});
}

void MlpTangents::forward(const Chunk& chunk, Smoothing relu) {
  for (std::int64_t l = 0; l + 1 < depth(); ++l) {
    for (std::int64_t p = 0; p < point_count(); ++p) {
      const Tensor from = l == 0 ? own(images_, 0, chunk) : point_of(rows_[l - 1].h, chunk, p);
      Tensor z = point_of(rows_[l].change, chunk, p);
      at::addmm_out(z, layers_[l].bias[p], from, layers_[l].weight[p].t());
    }
    activate(chunk_of(rows_[l].change, chunk), relu, chunk_of(rows_[l].h, chunk), chunk_of(rows_[l].slope, chunk));
  }
}

// The backward pass, from the cotangents in the last layer's delta.
void MlpTangents::backward(const Chunk& chunk) {
  for (std::int64_t l = depth() - 1; l > 0; --l) {
    for (std::int64_t p = 0; p < point_count(); ++p) {
      Tensor delta = point_of(rows_[l - 1].delta, chunk, p);
      at::mm_out(delta, point_of(rows_[l].delta, chunk, p), layers_[l].weight[p]);
    }
    chunk_of(rows_[l - 1].delta, chunk).mul_(chunk_of(rows_[l - 1].slope, chunk));
  }
  if (point_count() == 1) return;
  Tensor sum = own(delta_sum_, 0, chunk);
  sum.copy_(point_of(rows_[0].delta, chunk, 0));
  for (std::int64_t p = 1; p < point_count(); ++p) sum.add_(point_of(rows_[0].delta, chunk, p));
}

// R_l = dW_l - sum of delta h^T, for the outputs [first, first + count) of the layer. Returns their |R_l|^2.
double MlpTangents::form_residual(std::int64_t layer, std::int64_t first, std::int64_t count) {
  if (count == 0) return 0;
  const Tensor delta = signals(layer).narrow(1, first, count);
  Tensor residual = rows_[layer].residual.narrow(0, first, count);
  if (layers_[layer].weights == 0) {
    residual.zero_();
  } else {
    at::addmm_out(residual, layers_[layer].drift.narrow(0, first, count), delta.t(), below(layer), 1,
                  -layers_[layer].scale2);
  }
  Tensor bias = rows_[layer].bias_residual.narrow(0, first, count);
  at::sub_out(bias, layers_[layer].bias_drift.narrow(0, first, count), delta.sum(0), layers_[layer].biases);
  return sum_of_products(residual, residual) / layers_[layer].scale2 + sum_of_products(bias, bias);
}

// b - w of the held images [first, first + count): <h, phi_k> minus the part that the free images explain.
void MlpTangents::overlap_with_held(std::int64_t first, std::int64_t count) {
  if (count == 0) return;
  Tensor rest = held_.inner_rest.narrow(0, first, count);
  rest.copy_(held_.inner.narrow(0, first, count));
  for (std::int64_t l = 0; l < depth(); ++l) {
    const HeldLayer& held = held_.layers[l];
    Tensor cross = rows_[l].cross.narrow(0, first, count), overlap = held.overlap.narrow(0, first, count);
    at::mm_out(cross, held.below.narrow(0, first, count), below(l).t());
    cross.mul_(layers_[l].weights).add_(layers_[l].biases);
    at::mm_out(overlap, cross, signals(l));
    overlap.mul_(held.delta.narrow(0, first, count));
    rest.sub_(overlap.sum(1, false, at::kDouble));
  }
}

// The held images' best coefficients, and by how much they lower the loss.
double MlpTangents::solve_held() {
  const Tensor rest = held_.inner_rest.unsqueeze(1);
  const Tensor coefficients = at::cholesky_solve(rest, held_.cholesky);
  const Tensor scale = coefficients.to(dtype());
  for (auto& held : held_.layers) at::mul_out(held.weighted, held.delta, scale);
  return at::dot(held_.inner_rest, coefficients.squeeze(1)).item<double>();
}

double MlpTangents::along_residual(const Chunk& chunk) {
  double sums = 0;
  for (std::int64_t l = 0; l < depth(); ++l) {
    Rows& rows = rows_[l];
    const Layer& layer = layers_[l];
    const Tensor from = own(below(l), l, chunk);
    // The product of the residual of this layer with its inputs.
    Tensor product = product_of(chunk, l), direct = l == 0 ? product : chunk_of(rows.change, chunk);
    if (rows.forms_residual) {
      at::addmm_out(direct, rows.bias_residual, from, rows.residual.t());
    } else {
      Tensor explained = l == 0 ? point_of(rows.adjoint, chunk, 0) : direct;  // not in use yet
      Tensor gram = own(rows.gram, l, chunk);
      at::addmm_out(product, layer.bias_drift, from, layer.drift.t());
      at::mm_out(gram, from, below(l).t());
      gram.mul_(layer.weights).add_(layer.biases);
      at::mm_out(explained, gram, signals(l));
      sums += subtract_and_sum(own(signals(l), l, chunk), product, explained, direct);
    }
    if (held_.rows > 0) {
      const Tensor cross = l == 0 ? rows.cross.narrow(1, chunk.first_image, chunk.images)
                                  : rows.cross.narrow(1, chunk.first_row, chunk.images * point_count());
      direct.addmm_(cross.t(), held_.layers[l].weighted, 1, -1);
    }
    for (std::int64_t p = 0; p < point_count(); ++p) {
      Tensor change = point_of(rows.change, chunk, p);
      if (l == 0) {
        change.copy_(direct);
      } else {
        change.addmm_(point_of(rows_[l - 1].adjoint, chunk, p), layer.weight[p].t());
      }
      if (l + 1 < depth()) continue;
      Tensor by_coefficients =
          loss_.by_coefficients.narrow(0, chunk.first_image, chunk.images).narrow(1, p * outputs(), outputs());
      by_coefficients.copy_(change).mul_(-2);
    }
    if (l + 1 == depth()) break;
    Tensor h_change = chunk_of(rows.adjoint, chunk);
    at::mul_out(h_change, chunk_of(rows.change, chunk), chunk_of(rows.slope, chunk));
  }
  return sums;
}

// The backward pass through the forward pass with tangents.
void MlpTangents::adjoints(const Chunk& chunk, Smoothing relu) {
  // delta_l R_l, into `result`.
  const auto through_residual = [&](std::int64_t l, Tensor result) {
    const Rows& rows = rows_[l];
    const Tensor delta = own(signals(l), l, chunk);
    if (rows.forms_residual) {
      at::mm_out(result, delta, rows.residual);
    } else {
      Tensor gram = own(rows.gram, l, chunk);
      at::mm_out(result, delta, layers_[l].drift);
      at::mm_out(gram, delta, signals(l).t());
      result.addmm_(gram, below(l), 1, -layers_[l].weights);
    }
    if (held_.rows == 0) return;
    result.addmm_(at::mm(delta, held_.layers[l].weighted.t()), held_.layers[l].below, 1, -layers_[l].weights);
  };
  for (std::int64_t l = depth() - 1; l > 0; --l) {
    Tensor adjoint = chunk_of(rows_[l - 1].adjoint, chunk);
    through_residual(l, adjoint);
    if (l + 1 < depth()) {  // the last layer is linear: its z has no adjoint of its own
      for (std::int64_t p = 0; p < point_count(); ++p) {
        point_of(adjoint, {0, chunk.images, 0}, p).addmm_(point_of(rows_[l].adjoint, chunk, p), layers_[l].weight[p]);
      }
    }
    bend(adjoint, chunk_of(rows_[l - 1].slope, chunk), chunk_of(rows_[l - 1].change, chunk),
         chunk_of(rows_[l - 1].delta, chunk), relu);
  }
  Tensor by_images = loss_.by_images.narrow(0, chunk.first_image, chunk.images);
  through_residual(0, by_images);
  if (depth() > 1) {
    for (std::int64_t p = 0; p < point_count(); ++p) {
      by_images.addmm_(point_of(rows_[0].adjoint, chunk, p), layers_[0].weight[p]);
    }
  }
  by_images.mul_(-2);
}

const TangentTarget::Loss& MlpTangents::loss(const Tensor& images, const Tensor& coefficients, Smoothing relu) {
  const c10::NoGradGuard no_gradients;
  const SerialProducts serial;
  const std::int64_t count = images.size(0), threads = at::get_num_threads();
  const std::int64_t chunks = std::clamp<std::int64_t>(count / fewest_images_a_chunk, 1, threads);
  reserve(count, chunks);
  images_ = images;
  in_parallel(chunks, [&](std::int64_t i) {
    const Chunk& chunk = chunks_[i];
    forward(chunk, relu);
    for (std::int64_t p = 0; p < point_count(); ++p) {
      point_of(rows_.back().delta, chunk, p)
          .copy_(coefficients.narrow(0, chunk.first_image, chunk.images).narrow(1, p * outputs(), outputs()));
    }
    backward(chunk);
  });
  std::vector<double> sums(static_cast<std::size_t>(threads));
  in_parallel(threads, [&](std::int64_t i) {
    for (std::int64_t l = 0; l < depth(); ++l) {
      if (!rows_[l].forms_residual) continue;
      const auto [first, size] = share(layers_[l].drift.size(0), i, threads);
      sums[static_cast<std::size_t>(i)] += form_residual(l, first, size);
    }
    if (held_.rows == 0) return;
    const auto [first, size] = share(held_.rows, i, threads);
    overlap_with_held(first, size);
  });
  const double explained = held_.rows > 0 ? solve_held() : 0;
  in_parallel(chunks, [&](std::int64_t i) {
    sums[static_cast<std::size_t>(i)] += along_residual(chunks_[i]);
    adjoints(chunks_[i], relu);
  });
  loss_.value = squared_norm_ - explained;
  for (const double sum : sums) loss_.value += sum;
  for (std::int64_t l = 0; l < depth(); ++l) {
    if (rows_[l].forms_residual) loss_.value -= layers_[l].drift_norm2;
  }
  images_ = Tensor();
  return loss_;
}

Tensor MlpTangents::inner(const Tensor& images, Smoothing relu) {
  const std::int64_t count = images.size(0);
  reserve(count, 1);
  const Chunk& all = chunks_.front();
  images_ = images;
  forward(all, relu);
  for (std::int64_t l = 0; l < depth(); ++l) {
    Rows& rows = rows_[l];
    Tensor product = product_of(all, l);
    at::addmm_out(product, layers_[l].bias_drift, below(l), layers_[l].drift.t());
    for (std::int64_t p = 0; p < point_count(); ++p) {
      Tensor change = point_of(rows.change, all, p);
      change.copy_(l == 0 ? product : product.narrow(0, p * count, count));
      if (l > 0) change.addmm_(point_of(rows_[l - 1].adjoint, all, p), layers_[l].weight[p].t());
    }
    if (l + 1 < depth()) at::mul_out(rows.adjoint, rows.change, rows.slope);
  }
  images_ = Tensor();
  return rows_.back()
      .change.view({point_count(), count, outputs()})
      .transpose(0, 1)
      .clone(at::MemoryFormat::Contiguous)  // the next call overwrites the buffers
      .view({count, features_per_image()});
}

// Backward signals of each output in turn, [points x images, n_l] for each layer and output, after a forward pass of
// one chunk.
std::vector<std::vector<Tensor>> MlpTangents::unit_signals() {
  std::vector<std::vector<Tensor>> delta(layers_.size());
  for (std::int64_t c = 0; c < outputs(); ++c) {
    rows_.back().delta.zero_();
    rows_.back().delta.select(1, c).fill_(1);
    backward(chunks_.front());
    for (std::size_t l = 0; l < layers_.size(); ++l) delta[l].push_back(rows_[l].delta.clone());
  }
  return delta;
}

Tensor MlpTangents::gram_of_first(std::int64_t first, const Tensor& images, Smoothing relu) {
  const std::int64_t count = images.size(0), points = point_count(), classes = outputs();
  reserve(count, 1);
  images_ = images;
  forward(chunks_.front(), relu);
  const auto delta = unit_signals();
  const std::int64_t rows = points * count, first_rows = points * first;
  // Of rows that are point-major, those of the first images.
  const auto of_first = [&](const Tensor& all) {
    if (first == count) return all;
    return all.view({points, count, -1}).narrow(1, 0, first).reshape({first_rows, -1});
  };
  const Tensor tiled = images.repeat({points, 1});
  Tensor kernel = at::zeros({first_rows, classes, rows, classes}, images.options());
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const Tensor& from = l == 0 ? tiled : rows_[l - 1].h;
    const Tensor activations = at::mm(of_first(from), from.t()).mul_(layers_[l].weights).add_(layers_[l].biases);
    const Tensor signal = at::stack(delta[l], 1).reshape({rows, -1});  // [rows, C n_l]
    kernel.add_(at::mm(of_first(signal).reshape({first_rows * classes, -1}), signal.view({rows * classes, -1}).t())
                    .view({first_rows, classes, rows, classes}) *
                activations.view({first_rows, 1, rows, 1}));
  }
  images_ = Tensor();
  // From point-major rows to image-major ones.
  return kernel.view({points, first, classes, points, count, classes})
      .permute({1, 0, 2, 4, 3, 5})
      .reshape({first * features_per_image(), count * features_per_image()});
}

void MlpTangents::hold(const Tensor& images) {
  held_ = {};
  count_ = 0;  // the buffers are made anew
  if (!images.defined() || images.size(0) == 0) return;
  const std::int64_t count = images.size(0), points = point_count(), classes = outputs();
  Held held;
  held.rows = points * classes * count;
  // Rows are output by output, in each point by point. The activations that inner() leaves are used below.
  held.inner = inner(images, {}).view({count, points, classes}).permute({2, 1, 0}).reshape({held.rows}).to(at::kDouble);
  held.layers.resize(layers_.size());
  const auto delta = unit_signals();
  Tensor kernel = at::zeros({held.rows, held.rows}, at::kDouble);
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    HeldLayer& layer = held.layers[l];
    layer.below = l == 0 ? images.repeat({points * classes, 1}) : rows_[l - 1].h.repeat({classes, 1});
    layer.delta = at::cat(delta[l]);
    layer.weighted = at::empty_like(layer.delta);
    layer.overlap = at::empty_like(layer.delta);
    const Tensor from = layer.below.to(at::kDouble), signal = layer.delta.to(at::kDouble);
    kernel.add_(
        at::mm(from, from.t()).mul_(layers_[l].weights).add_(layers_[l].biases).mul_(at::mm(signal, signal.t())));
  }
  held.cholesky = held_factor(kernel);
  held.inner_rest = at::empty_like(held.inner);
  held_ = std::move(held);
  count_ = 0;
}

}  // namespace afterimage
