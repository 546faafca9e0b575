#include "models/tangent/autograd_tangents.h"

#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <stdexcept>

namespace afterimage {
namespace {

constexpr double block_budget = 0.25 * (1 << 30);  // bytes of features as rows; two blocks at a time

double squared(const std::vector<Tensor>& tensors) {
  std::vector<Parameters::Entry> entries;
  for (const Tensor& tensor : tensors) entries.emplace_back("", tensor);
  return Parameters(std::move(entries)).squared_norm();
}

}  // namespace

AutogradTangents::AutogradTangents(Recorded recorded, std::int64_t dimension, std::int64_t outputs,
                                   const std::vector<Parameters>& points, const Parameters& drift, std::int64_t chunk)
    : recorded_(std::move(recorded)), dimension_(dimension), outputs_(outputs), chunk_(chunk) {
  if (points.empty() || drift.size() == 0) throw std::invalid_argument("tangent features need at least one point");
  dtype_ = drift[0].scalar_type();
  const std::vector<bool> moving = moved(drift);
  for (std::size_t i = 0; i < drift.size(); ++i) {
    if (!moving[i]) continue;
    drift_.push_back(drift[i].contiguous());
    moving_count_ += drift[i].numel();
  }
  if (drift_.empty()) throw std::invalid_argument("no parameter changed");
  squared_norm_ = squared(drift_);
  points_.reserve(points.size());
  for (const Parameters& point : points) {
    if (point.size() != drift.size()) throw std::invalid_argument("a point has other parameters than the drift");
    points_.emplace_back(recorded_, point, moving);
  }
}

void AutogradTangents::record(Part& part) const {
  part.images = part.images.detach().requires_grad_(true);
  part.coefficients = part.coefficients.detach().requires_grad_(true);
  part.features = points_[part.point].combined(part.images, part.coefficients, relu_, /*graph=*/true);
}

void AutogradTangents::differentiate(Part& part, const Tensors& residual) {
  const at::AutoGradMode record(true);
  const Tensor explained = sum_of_inner(residual, part.features);
  part.features.clear();
  if (!explained.defined()) return;
  const auto gradients = torch::autograd::grad({explained}, {part.images, part.coefficients}, {}, false, false, true);
  const c10::NoGradGuard done;
  if (gradients[0].defined()) {
    loss_.by_images.narrow(0, part.range.first, part.range.count).sub_(gradients[0], 2);
  }
  if (gradients[1].defined()) {
    loss_.by_coefficients.narrow(0, part.range.first, part.range.count)
        .narrow(1, static_cast<std::int64_t>(part.point) * outputs_, outputs_)
        .sub_(gradients[1], 2);
  }
}

// As many images at a time as fit into the memory for two derivatives.
void AutogradTangents::choose_chunk(const Tensor& images, Smoothing relu) {
  if (chunk_ > 0) return;
  constexpr std::int64_t most = 4096;
  chunk_ = images_at_once(most, largest_chunk_bytes, [&](std::int64_t count) {
    const Tensor some = images.narrow(0, 0, 1).repeat({count, 1}).detach().requires_grad_(true);
    const Tensor ones = at::ones({count, outputs_}, images.options()).requires_grad_(true);
    const at::AutoGradMode record(true);
    const auto features = points_.front().combined(some, ones, relu, true);
    const Tensor inner = sum_of_inner(drift_, features);
    if (inner.defined()) torch::autograd::grad({inner}, {some, ones}, {}, false, false, true);
  });
}

void AutogradTangents::add_combined(const Tensor& images, const Tensor& coefficients, Smoothing relu, double factor,
                                    Tensors& sum) const {
  for (std::size_t p = 0; p < points_.size(); ++p) {
    const Tensor own = coefficients.narrow(1, static_cast<std::int64_t>(p) * outputs_, outputs_);
    for (const Range& range : ranges(images.size(0), chunk_)) {
      const auto features = points_[p].combined(images.narrow(0, range.first, range.count),
                                                own.narrow(0, range.first, range.count), relu);
      for (std::size_t k = 0; k < sum.size(); ++k) {
        if (features[k].defined()) sum[k].add_(features[k], factor);
      }
    }
  }
}

const TangentTarget::Loss& AutogradTangents::loss(const Tensor& images, const Tensor& coefficients, Smoothing relu) {
  const c10::NoGradGuard no_gradients;
  choose_chunk(images, relu);
  relu_ = relu;
  loss_.by_images = at::zeros_like(images);
  loss_.by_coefficients = at::zeros_like(coefficients);
  std::vector<Part> parts;
  for (std::size_t p = 0; p < points_.size(); ++p) {
    const Tensor own = coefficients.narrow(1, static_cast<std::int64_t>(p) * outputs_, outputs_);
    for (const Range& range : ranges(images.size(0), chunk_)) {
      parts.push_back(
          {p, range, images.narrow(0, range.first, range.count), own.narrow(0, range.first, range.count), {}});
    }
  }
  Tensors residual;
  for (const Tensor& tensor : drift_) residual.push_back(tensor.clone());
  const bool at_once = images.size(0) * point_count() <= chunk_;
  if (at_once) {
    for (Part& part : parts) {
      record(part);
      for (std::size_t k = 0; k < residual.size(); ++k) {
        if (part.features[k].defined()) residual[k].sub_(part.features[k].detach());
      }
    }
  } else {
    add_combined(images, coefficients, relu, -1, residual);
  }
  loss_.value = squared(residual);
  if (held_.defined()) loss_.value -= project_out_held(residual);
  for (Part& part : parts) {
    if (!at_once) record(part);
    differentiate(part, residual);
  }
  return loss_;
}

Tensor AutogradTangents::along(const Tensors& direction, const Tensor& images, Smoothing relu) const {
  std::vector<Tensor> by_point;
  for (const Differentiated& point : points_) {
    std::vector<Tensor> rows_of_point;
    for (const Range& range : ranges(images.size(0), chunk_)) {
      rows_of_point.push_back(point.along(direction, images.narrow(0, range.first, range.count), relu));
    }
    by_point.push_back(at::cat(rows_of_point));
  }
  return at::cat(by_point, 1);
}

Tensor AutogradTangents::inner(const Tensor& images, Smoothing relu) {
  choose_chunk(images, relu);
  return along(drift_, images, relu);
}

Tensor AutogradTangents::rows(const Tensor& images, Smoothing relu, const Range& range) const {
  const at::AutoGradMode record(true);
  Tensor features = at::zeros({range.count, moving_count_}, images.options());
  for (std::int64_t i = 0; i < range.count; ++i) {
    const std::int64_t row = range.first + i, feature = row % features_per_image();
    const Tensor one = at::zeros({1, outputs_}, images.options());
    one.select(1, feature % outputs_).fill_(1);
    const auto found = points_[static_cast<std::size_t>(feature / outputs_)].combined(
        images.narrow(0, row / features_per_image(), 1), one, relu);
    const c10::NoGradGuard no_gradients;
    std::int64_t at = 0;
    for (std::size_t k = 0; k < found.size(); ++k) {
      const std::int64_t size = drift_[k].numel();
      if (found[k].defined()) features[i].narrow(0, at, size).copy_(found[k].reshape({-1}));
      at += size;
    }
  }
  return features.detach();
}

double AutogradTangents::bytes_of_gram(double rows, double numbers) {
  const double all = rows * numbers * sizeof(float), kernel = rows * rows * sizeof(float);
  return kernel + (all <= block_budget ? all : 2 * std::max(block_budget, numbers * sizeof(float)));
}

Tensor AutogradTangents::gram(const Tensor& images, Smoothing relu) {
  const std::int64_t total = images.size(0) * features_per_image();
  const double row = static_cast<double>(moving_count_) * static_cast<double>(images.element_size());
  const auto size = static_cast<std::int64_t>(
      std::clamp(block_budget / row, 1.0, static_cast<double>(std::max<std::int64_t>(total, 1))));
  const auto blocks = ranges(total, size);
  Tensor kernel = at::empty({total, total}, images.options());
  for (std::size_t a = 0; a < blocks.size(); ++a) {
    const Tensor first = rows(images, relu, blocks[a]);
    for (std::size_t b = a; b < blocks.size(); ++b) {
      const Tensor product = at::mm(first, (a == b ? first : rows(images, relu, blocks[b])).t());
      kernel.narrow(0, blocks[a].first, blocks[a].count).narrow(1, blocks[b].first, blocks[b].count).copy_(product);
      kernel.narrow(0, blocks[b].first, blocks[b].count).narrow(1, blocks[a].first, blocks[a].count).copy_(product.t());
    }
  }
  return kernel;
}

void AutogradTangents::hold(const Tensor& images) {
  held_ = held_cholesky_ = Tensor();
  if (!images.defined() || images.size(0) == 0) return;
  choose_chunk(images, {});
  held_cholesky_ = held_factor(gram(images, {}).to(at::kDouble));
  held_ = images;
}

double AutogradTangents::project_out_held(Tensors& residual) const {
  const Tensor inner = along(residual, held_, {}).to(at::kDouble).reshape({-1, 1});
  const Tensor coefficients = at::cholesky_solve(inner, held_cholesky_);
  add_combined(held_, coefficients.view({held_.size(0), features_per_image()}).to(dtype_), {}, -1, residual);
  return (inner * coefficients).sum().item<double>();
}

}  // namespace afterimage
