#include "models/tangent/mlp_tangents.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <stdexcept>

namespace afterimage {
namespace {

constexpr double softplus_threshold = 45;  // beyond it softplus and the identity differ by less than float64 can tell
constexpr std::int64_t grain = 16384;

// Sum of a_i b_i in float64, without a temporary.
double sum_of_products(const Tensor& a, const Tensor& b) {
  double total = 0;
  AT_DISPATCH_FLOATING_TYPES(a.scalar_type(), "dot", [&] {
    const auto* x = a.data_ptr<scalar_t>();
    const auto* y = b.data_ptr<scalar_t>();
    total = at::parallel_reduce(
        0, a.numel(), grain, 0.0,
        [&](std::int64_t begin, std::int64_t end, double sum) {
          double lanes[8] = {};  // independent sums, so that the loop vectorises
          std::int64_t i = begin;
          for (; i + 8 <= end; i += 8) {
            for (int k = 0; k < 8; ++k) lanes[k] += static_cast<double>(x[i + k]) * static_cast<double>(y[i + k]);
          }
          for (; i < end; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(y[i]);
          for (const double lane : lanes) sum += lane;
          return sum;
        },
        [](double p, double q) { return p + q; });
  });
  return total;
}

// adjoint of z = s' (adjoint of h) + s'' z' (adjoint of h'), in place; s'' = beta s' (1 - s').
void bend(Tensor& adjoint, const Tensor& slope, const Tensor& z_change, const Tensor& backward, Smoothing relu) {
  if (relu.is_relu()) {
    adjoint.mul_(slope);
    return;
  }
  AT_DISPATCH_FLOATING_TYPES(adjoint.scalar_type(), "bend", [&] {
    auto* a = adjoint.data_ptr<scalar_t>();
    const auto* s = slope.data_ptr<scalar_t>();
    const auto* c = z_change.data_ptr<scalar_t>();
    const auto* b = backward.data_ptr<scalar_t>();
    const auto beta = static_cast<scalar_t>(relu.beta);
    at::parallel_for(0, adjoint.numel(), grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) a[i] = s[i] * (a[i] + beta * (1 - s[i]) * c[i] * b[i]);
    });
  });
}

// h = s(z), slope = s'(z).
void activate(const Tensor& z, Smoothing relu, Tensor& h, Tensor& slope) {
  if (relu.is_relu()) {
    at::clamp_min_out(h, z, 0);
    slope.copy_(z > 0);
    return;
  }
  at::softplus_out(h, z, relu.beta, softplus_threshold);
  at::mul_out(slope, z, at::scalar_tensor(relu.beta, z.options()));
  slope.sigmoid_();
}

Tensor block(const Tensor& rows, std::int64_t point, std::int64_t images) {
  return rows.narrow(0, point * images, images);
}

void make(Tensor& buffer, at::IntArrayRef shape, at::ScalarType dtype) {
  buffer = at::empty(shape, at::TensorOptions().dtype(dtype));
}

}  // namespace

MlpTangents::MlpTangents(std::vector<double> weight_scales, const Parameters& initial, const Parameters& drift,
                         std::vector<double> points, const Tensor& basis)
    : points_(std::move(points)), squared_norm_(drift.squared_norm()) {
  if (points_.empty()) throw std::invalid_argument("tangent features need at least one point of the segment");
  if (initial.size() != 2 * weight_scales.size() || drift.size() != initial.size()) {
    throw std::invalid_argument("a fully connected network has a weight and a bias for each layer");
  }
  for (std::size_t l = 0; l < weight_scales.size(); ++l) {
    const double scale = weight_scales[l];
    const auto scaled = [&](const Tensor& weight) {
      const Tensor in_basis = l == 0 && basis.defined() ? at::mm(weight, basis.to(weight.scalar_type()).t()) : weight;
      return scale == 1 ? in_basis.contiguous() : at::mul(in_basis, scale).contiguous();
    };
    Layer layer{scaled(initial[2 * l]),
                scaled(drift[2 * l]),
                initial[2 * l + 1].contiguous(),
                drift[2 * l + 1].contiguous(),
                {},
                scale * scale};
    for (const double t : points_) {
      if (l == 0) break;
      layer.at_point.push_back(t == 0 ? layer.initial : at::add(layer.initial, layer.drift, t));
    }
    if (l > 0 && layer.initial.size(1) != layers_.back().initial.size(0)) {
      throw std::invalid_argument("layers do not chain");
    }
    layers_.push_back(std::move(layer));
  }
  rows_.resize(layers_.size());
  gram_delta_.resize(layers_.size());
}

void MlpTangents::reserve(std::int64_t images) {
  if (images == images_) return;
  images_ = images;
  const auto type = dtype();
  const std::int64_t rows = images * point_count();
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const std::int64_t width = layers_[l].initial.size(0);
    Rows& buffers = rows_[l];
    for (Tensor* buffer : {&buffers.z, &buffers.h, &buffers.slope, &buffers.backward, &buffers.delta, &buffers.z_change,
                           &buffers.h_change, &buffers.adjoint}) {
      make(*buffer, {rows, width}, type);
    }
    if (l > 0) make(buffers.drift_product, {rows, width}, type);
    make(gram_delta_[l], {l == 0 ? images : rows, width}, type);
  }
  const std::int64_t first = layers_.front().initial.size(0);
  for (Tensor* buffer : {&first_initial_, &first_drift_, &delta_sum_, &adjoint_sum_, &adjoint_weighted_}) {
    make(*buffer, {images, first}, type);
  }
  make(image_gram_, {images, images}, type);
  make(first_delta_gram_, {images, images}, type);
  make(row_gram_, {rows, rows}, type);
  make(delta_gram_, {rows, rows}, type);
  make(cotangents_, {rows, outputs()}, type);
  make(output_sum_, {outputs(), layers_.back().initial.size(1)}, type);
  make(loss_.by_images, {images, dimension()}, type);
  make(loss_.by_coefficients, {images, features_per_image()}, type);
}

// z, h, slope and dW h + db of every layer. The first layer needs two products however many points there are.
void MlpTangents::forward(const Tensor& images, Smoothing relu) {
  const Layer& first = layers_.front();
  at::addmm_out(first_initial_, first.bias_initial, images, first.initial.t());
  at::addmm_out(first_drift_, first.bias_drift, images, first.drift.t());
  for (std::int64_t p = 0; p < point_count(); ++p) {
    Tensor z = block(rows_[0].z, p, images_);
    at::add_out(z, first_initial_, first_drift_, points_[p]);
  }
  for (std::size_t l = 0; l + 1 < layers_.size(); ++l) {
    activate(rows_[l].z, relu, rows_[l].h, rows_[l].slope);
    const Layer& next = layers_[l + 1];
    Rows& above = rows_[l + 1];
    at::addmm_out(above.drift_product, next.bias_drift, rows_[l].h, next.drift.t());
    for (std::int64_t p = 0; p < point_count(); ++p) {
      Tensor z = block(above.z, p, images_);
      at::addmm_out(z, next.bias_initial, block(rows_[l].h, p, images_), next.at_point[p].t());
      z.add_(next.bias_drift, points_[p]);
    }
  }
}

// The backward signals for one cotangent a row.
void MlpTangents::backward(const Tensor& cotangents) {
  rows_.back().delta.copy_(cotangents);
  for (std::size_t l = layers_.size() - 1; l > 0; --l) {
    Rows& below = rows_[l - 1];
    for (std::int64_t p = 0; p < point_count(); ++p) {
      Tensor signal = block(below.backward, p, images_);
      at::mm_out(signal, block(rows_[l].delta, p, images_), layers_[l].at_point[p]);
    }
    at::mul_out(below.delta, below.backward, below.slope);
  }
}

// The derivative of every layer along the residual R, which is h less what the features with the present backward
// signals add up to. Also sums <h, sum a phi> and ||sum a phi||^2.
void MlpTangents::along_residual(const Tensor& images) {
  inner_sum_ = gram_sum_ = 0;
  at::mm_out(image_gram_, images, images.t());
  image_gram_.mul_(layers_.front().gram_weight).add_(1);
  delta_sum_.copy_(block(rows_[0].delta, 0, images_));
  for (std::int64_t p = 1; p < point_count(); ++p) delta_sum_.add_(block(rows_[0].delta, p, images_));
  at::mm_out(gram_delta_[0], image_gram_, delta_sum_);
  inner_sum_ += sum_of_products(delta_sum_, first_drift_);
  gram_sum_ += sum_of_products(delta_sum_, gram_delta_[0]);
  for (std::int64_t p = 0; p < point_count(); ++p) {
    Tensor change = block(rows_[0].z_change, p, images_);
    at::sub_out(change, first_drift_, gram_delta_[0]);
  }
  for (std::size_t l = 1; l < layers_.size(); ++l) {
    Rows& below = rows_[l - 1];
    Rows& rows = rows_[l];
    at::mul_out(below.h_change, below.z_change, below.slope);
    inner_sum_ += sum_of_products(rows.delta, rows.drift_product);
    if (l + 1 < layers_.size()) {
      at::mm_out(row_gram_, below.h, below.h.t());
      row_gram_.mul_(layers_[l].gram_weight).add_(1);
      at::mm_out(gram_delta_[l], row_gram_, rows.delta);
    } else {  // few outputs: what the features add up to has only [C, n] entries, fewer than the Gram matrix
      at::mm_out(output_sum_, rows.delta.t(), below.h);
      output_sum_.mul_(layers_[l].gram_weight);
      at::mm_out(gram_delta_[l], below.h, output_sum_.t());
      gram_delta_[l].add_(rows.delta.sum(0));
    }
    gram_sum_ += sum_of_products(rows.delta, gram_delta_[l]);
    at::sub_out(rows.z_change, rows.drift_product, gram_delta_[l]);
    for (std::int64_t p = 0; p < point_count(); ++p) {
      block(rows.z_change, p, images_).addmm_(block(below.h_change, p, images_), layers_[l].at_point[p].t());
    }
  }
}

// The backward pass through the forward pass with tangents; leaves the image gradient (but for its factor -2) in loss_.
void MlpTangents::adjoints(const Tensor& images, Smoothing relu) {
  for (std::size_t l = layers_.size() - 1; l > 0; --l) {
    Rows& below = rows_[l - 1];
    const Rows& rows = rows_[l];
    at::mm_out(below.adjoint, rows.delta, layers_[l].drift);
    if (l + 1 == layers_.size()) {  // linear: nothing comes back through its z
      below.adjoint.addmm_(rows.delta, output_sum_, 1, -1);
    } else {
      at::mm_out(delta_gram_, rows.delta, rows.delta.t());
      below.adjoint.addmm_(delta_gram_, below.h, 1, -layers_[l].gram_weight);
      for (std::int64_t p = 0; p < point_count(); ++p) {
        block(below.adjoint, p, images_).addmm_(block(rows.adjoint, p, images_), layers_[l].at_point[p]);
      }
    }
    bend(below.adjoint, below.slope, below.z_change, below.backward, relu);
  }
  const Layer& first = layers_.front();
  adjoint_sum_.copy_(block(rows_[0].adjoint, 0, images_));
  at::add_out(adjoint_weighted_, delta_sum_, adjoint_sum_, points_[0]);
  for (std::int64_t p = 1; p < point_count(); ++p) {
    const Tensor adjoint = block(rows_[0].adjoint, p, images_);
    adjoint_sum_.add_(adjoint);
    adjoint_weighted_.add_(adjoint, points_[p]);
  }
  at::mm_out(loss_.by_images, adjoint_sum_, first.initial);
  loss_.by_images.addmm_(adjoint_weighted_, first.drift);
  at::mm_out(first_delta_gram_, delta_sum_, delta_sum_.t());
  loss_.by_images.addmm_(first_delta_gram_, images, 1, -first.gram_weight);
}

const TangentTarget::Loss& MlpTangents::loss(const Tensor& images, const Tensor& coefficients, Smoothing relu) {
  const std::int64_t count = images.size(0);
  reserve(count);
  forward(images, relu);
  cotangents_.view({point_count(), count, outputs()})
      .copy_(coefficients.view({count, point_count(), outputs()}).transpose(0, 1));
  backward(cotangents_);
  along_residual(images);
  adjoints(images, relu);
  loss_.value = squared_norm_ - 2 * inner_sum_ + gram_sum_;
  loss_.by_images.mul_(-2);
  loss_.by_coefficients.view({count, point_count(), outputs()})
      .copy_(rows_.back().z_change.view({point_count(), count, outputs()}).transpose(0, 1));
  loss_.by_coefficients.mul_(-2);
  return loss_;
}

Tensor MlpTangents::inner(const Tensor& images, Smoothing relu) {
  const std::int64_t count = images.size(0);
  reserve(count);
  forward(images, relu);
  for (std::int64_t p = 0; p < point_count(); ++p) block(rows_[0].z_change, p, count).copy_(first_drift_);
  for (std::size_t l = 1; l < layers_.size(); ++l) {
    Rows& below = rows_[l - 1];
    at::mul_out(below.h_change, below.z_change, below.slope);
    for (std::int64_t p = 0; p < point_count(); ++p) {
      Tensor change = block(rows_[l].z_change, p, count);
      change.copy_(block(rows_[l].drift_product, p, count));
      change.addmm_(block(below.h_change, p, count), layers_[l].at_point[p].t());
    }
  }
  return rows_.back()
      .z_change.view({point_count(), count, outputs()})
      .transpose(0, 1)
      .reshape({count, features_per_image()});
}

Tensor MlpTangents::gram(const Tensor& images, Smoothing relu) {
  const std::int64_t count = images.size(0), points = point_count(), classes = outputs();
  reserve(count);
  forward(images, relu);
  // Backward signals of each output in turn, [points x images, n_l] for each layer and output.
  std::vector<std::vector<Tensor>> delta(layers_.size());
  for (std::int64_t c = 0; c < classes; ++c) {
    cotangents_.zero_();
    cotangents_.select(1, c).fill_(1);
    backward(cotangents_);
    for (std::size_t l = 0; l < layers_.size(); ++l) delta[l].push_back(rows_[l].delta.clone());
  }
  const std::int64_t rows = points * count;
  const Tensor tiled = images.repeat({points, 1});
  Tensor kernel = at::zeros({rows, classes, rows, classes}, images.options());
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const Tensor& below = l == 0 ? tiled : rows_[l - 1].h;
    const Tensor activations = at::mm(below, below.t()).mul_(layers_[l].gram_weight).add_(1);
    const Tensor signals = at::stack(delta[l], 1).reshape({rows * classes, -1});
    kernel.add_(at::mm(signals, signals.t()).view({rows, classes, rows, classes}) *
                activations.view({rows, 1, rows, 1}));
  }
  // From point-major rows to image-major ones.
  return kernel.view({points, count, classes, points, count, classes})
      .permute({1, 0, 2, 4, 3, 5})
      .reshape({count * features_per_image(), count * features_per_image()});
}

}  // namespace afterimage
