#include "attacks/solver/gates.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace afterimage {
namespace {

// Of |db|, left over by the fit in the column space: 1e-6 to 1e-5 where it holds, 0.6 to 0.9 where the mean of the
// training set was subtracted (MNIST, N = 20 and 50, widths 256 to 1024).
constexpr double most_left = 0.1;
// A neuron is taken to be left alone where its input is below zero by as many standard deviations, before training and
// after it. The more, the fewer fired in between; the fewer neurons are left to look at.
constexpr std::array<double, 6> margins = {0, 0.2, 0.4, 0.6, 0.8, 1};
constexpr double fewest_neurons = 2;  // for each direction
// The smallest singular value of the neurons' rows over the next: 1e-5 to 6e-4 at training images, above 0.1 at sums of
// three (MNIST, N = 20 and 50, width 1024).
constexpr double largest_ratio = 0.01, noises = 2.5, useless = 0.1;
// The next singular value at least: where all images leave the same neurons alone, as bright ones of which no mean was
// subtracted, it is below 0.08 as well, and no direction is that of one image. Else 0.1 to 0.6.
constexpr double informative = 0.1;
constexpr double refuting_ratio = 0.15;
constexpr double dependent = 1e-6;
// Median over images, of the mean square of delta's sum over neurons that the image leaves alone, to that over the
// others: 0.02 to 0.12 with all training images (Fashion-MNIST, N = 20 and 50, widths 64 to 512).
constexpr double largest_share = 0.15;

Tensor change(const TrainedNetwork& released, const std::string& name, double decay) {
  return released.trained.at(name).to(at::kDouble) - decay * released.initial.at(name).to(at::kDouble);
}

}  // namespace

BiasCondition bias_condition_of(const TrainedNetwork& released, const RowSpan& span) {
  BiasCondition condition;
  const DenseNetwork* dense = released.dense();
  if (dense == nullptr || !released.knows_initial()) return condition;
  const Tensor rows = at::mm(change(released, dense->first_weight(), span.decay), span.basis.t());
  const Tensor bias = change(released, dense->first_bias(), span.decay).unsqueeze(1);
  const double size = bias.norm().item<double>();
  if (size == 0 || rows.size(0) <= rows.size(1)) return condition;
  const Tensor normal = std::get<0>(at::linalg_lstsq(rows, bias, /*rcond=*/{}, "gels"));
  const double left = (at::mm(rows, normal) - bias).norm().item<double>();
  condition.holds = left < most_left * size;
  if (condition.holds) condition.normal = normal.squeeze(1) / dense->first_bias_scale();
  return condition;
}

std::int64_t most_images(const TrainedNetwork& released, const RowSpan& span) {
  return span.rank + (bias_condition_of(released, span).holds ? 0 : 1);
}

GateTest::GateTest(const TrainedNetwork& released, const RowSpan& span, const BiasCondition& bias)
    : released_(released), basis_(span.basis) {
  const DenseNetwork& dense = *released.dense();
  rows_ = at::mm(change(released, dense.first_weight(), span.decay), span.basis.t());
  const Tensor by_bias = change(released, dense.first_bias(), span.decay).unsqueeze(1);
  if (!bias.holds && by_bias.count_nonzero().item<std::int64_t>() > 0) {
    rows_ = at::cat({rows_, by_bias}, 1);
    bias_ = dense.first_bias_scale();
  }
  if (static_cast<double>(rows_.size(0)) < 2 * fewest_neurons * static_cast<double>(rows_.size(1))) return;
  const auto [u, s, vh] = at::linalg_svd(rows_, /*full_matrices=*/false);
  const double noise = span.rounding * std::sqrt(static_cast<double>(rows_.size(0))) / s[-1].item<double>();
  const double needed = std::max(largest_ratio, noises * noise);
  if (!(needed < useless)) return;
  largest_ratio_ = needed;
  directions_ = u.contiguous();
  to_dual_ = at::div(vh, s.unsqueeze(1));
}

GateTest::Missing GateTest::missing(const Tensor& before, const Tensor& after) const {
  const double deviation = before.std().item<double>();
  Missing least;
  for (const double margin : margins) {
    const Tensor alone =
        at::nonzero((before < -margin * deviation).logical_and(after < -margin * deviation)).squeeze(1);
    if (static_cast<double>(alone.numel()) < fewest_neurons * static_cast<double>(directions_.size(1))) break;
    const Tensor rows = directions_.index_select(0, alone);
    if (rows.size(1) < 2) continue;
    const auto [squares, vectors] = at::linalg_eigh(at::mm(rows.t(), rows));
    if (squares[1].item<double>() < informative * informative) continue;
    const double ratio = std::sqrt((squares[0].clamp_min(0) / squares[1]).item<double>());
    if (ratio < least.ratio || !least.direction.defined()) least = {ratio, vectors.select(1, 0)};
  }
  return least;
}

GateTest::Inputs GateTest::inputs_of(const Tensor& coordinates) const {
  const Tensor images = at::mm(coordinates, basis_).to(at::kFloat);
  const DenseNetwork& dense = *released_.dense();
  return {dense.first_layer_inputs(released_.initial, images), dense.first_layer_inputs(released_.trained, images)};
}

Tensor GateTest::missing_directions(const Tensor& coordinates) const {
  const auto [before, after] = inputs_of(coordinates);
  const Tensor directions = at::zeros({coordinates.size(0), rows_.size(1)}, at::kDouble);
  for (std::int64_t i = 0; i < coordinates.size(0) && applies(); ++i) {
    const Missing found = missing(before[i], after[i]);
    if (found.ratio < largest_ratio_) directions[i].copy_(found.direction);
  }
  return directions;
}

Tensor GateTest::extended(const Tensor& coordinates) const {
  if (rows_.size(1) == coordinates.size(1)) return coordinates;
  return at::cat({coordinates, at::full({coordinates.size(0), 1}, bias_, at::kDouble)}, 1);
}

Tensor GateTest::contributions(const Tensor& directions, const Tensor& coordinates) const {
  return at::mm(at::mm(directions, to_dual_), extended(coordinates).t());
}

bool GateTest::refutes(const Tensor& coordinates) const {
  if (!applies()) return false;
  const auto [before, after] = inputs_of(coordinates.unsqueeze(0));
  const Missing found = missing(before[0], after[0]);
  return found.direction.defined() && found.ratio > std::max(refuting_ratio, 2 * largest_ratio_);
}

bool GateTest::are_all(const Tensor& coordinates) const {
  const std::int64_t count = coordinates.size(0);
  if (count != rows_.size(1)) return false;
  const Tensor images = extended(coordinates);
  const Tensor values = at::linalg_svdvals(images);
  if (values[-1].item<double>() < dependent * values[0].item<double>()) return false;
  const Tensor sums = at::linalg_solve(images.t(), rows_.t()).square();  // [count, n_1]
  const auto [before, after] = inputs_of(coordinates);
  const Tensor alone = (before < 0).logical_and(after < 0).to(at::kDouble), rest = 1 - alone;
  const Tensor of_alone = (sums * alone).sum(1) / alone.sum(1).clamp_min(1),
               of_rest = (sums * rest).sum(1) / rest.sum(1).clamp_min(1);
  return at::median(of_alone / of_rest).item<double>() < largest_share;
}

}  // namespace afterimage
