#include "defenses/convexified_training.h"

#include <Eigen/Cholesky>
#include <cmath>
#include <stdexcept>

#include "models/eigen_maps.h"

namespace afterimage {
namespace {

constexpr double enough = 1e-10;  // of |right| left over: further steps move nothing

double sum_product(const Tensor& a, const Tensor& b) { return (a * b).sum(at::kDouble).item<double>(); }

// The mean loss of outputs f [n, C] at a temperature, and its derivative by f.
struct OuterLoss {
  double value;
  Tensor by_outputs;
};

OuterLoss outer_loss(const Tensor& outputs, const Tensor& targets, double scale) {
  const double count = static_cast<double>(outputs.size(0));
  if (outputs.size(1) == 1) {
    const Tensor margins = targets * outputs * scale;
    return {at::softplus(margins.neg()).sum(at::kDouble).item<double>() / count,
            margins.neg().sigmoid_().mul_(targets).mul_(-scale / count)};
  }
  const Tensor logs = at::log_softmax(outputs * scale, 1);
  return {-sum_product(logs, targets) / count, (logs.exp() - targets).mul_(scale / count)};
}

}  // namespace

// Cholesky's.
struct ConvexifiedTraining::Factor {
  explicit Factor(const Tensor& kernel) : llt(eigen_map(kernel)) {}
  Eigen::LLT<EigenMatrix> llt;
};

ConvexifiedTraining::ConvexifiedTraining(const ConvolutionalNetwork& network, const Tensor& parameters,
                                         const Tensor& images, const Tensor& targets, double ridge, Smoothing relu)
    : network_(network),
      parameters_(parameters),
      relu_(relu),
      set_(network, parameters, images, relu),
      targets_(targets.to(parameters.scalar_type())) {
  const Tensor features = set_.features().to(at::kDouble);
  Tensor kernel = at::mm(features, features.t());
  kernel.diagonal().add_(ridge);
  factor_ = std::make_unique<const Factor>(kernel);
  if (factor_->llt.info() != Eigen::Success) {
    throw std::runtime_error("the kernel of the distilled images is not positive definite: the ridge is too small");
  }
}

ConvexifiedTraining::~ConvexifiedTraining() = default;

Tensor ConvexifiedTraining::solve_dense(const Tensor& right) const {
  Tensor solution = right.to(at::kDouble, /*non_blocking=*/false, /*copy=*/true, at::MemoryFormat::Contiguous);
  factor_->llt.solveInPlace(eigen_map(solution));
  return solution.to(right.scalar_type());
}

Tensor ConvexifiedTraining::dual(const Tensor& moved) const { return solve_dense(targets_ - set_.pushforward(moved)); }

double ConvexifiedTraining::loss(const Tensor& moved) const {
  const Tensor residual = targets_ - set_.pushforward(moved);
  return (sum_product(residual, solve_dense(residual)) + sum_product(moved, moved)) / 2;
}

Tensor ConvexifiedTraining::gradient(const Tensor& moved) const { return moved - set_.pullback(dual(moved)); }

Tensor ConvexifiedTraining::hessian_times(const Tensor& direction) const {
  return set_.pullback(solve_dense(set_.pushforward(direction))).add_(direction);
}

ConvexifiedTraining::Solution ConvexifiedTraining::solve(const Tensor& right, std::int64_t steps) const {
  Tensor value = at::zeros_like(right), residual = right.clone(), direction = right.clone();
  const double size = sum_product(right, right);
  double left = size;
  for (std::int64_t step = 0; step < steps && left > enough * enough * size; ++step) {
    const Tensor curved = hessian_times(direction);
    const double rate = left / sum_product(direction, curved);
    value.add_(direction, rate);
    residual.sub_(curved, rate);
    const double before = left;
    left = sum_product(residual, residual);
    direction.mul_(left / before).add_(residual);
  }
  return {value, size > 0 ? std::sqrt(left / size) : 0};
}

ConvexifiedTraining::Solution ConvexifiedTraining::minimum(std::int64_t steps) const {
  return solve(set_.pullback(solve_dense(targets_)), steps);
}

Tensor ConvexifiedTraining::predict(const Linearization& images, const Tensor& moved) const {
  const Tensor weights = at::mm(set_.features().t(), dual(moved));
  return at::mm(images.features(), weights).add_(images.pushforward(moved));
}

MetaGradient ConvexifiedTraining::meta_gradient(const Tensor& moved, const Tensor& outer_images,
                                                const Tensor& outer_targets, double log_temperature,
                                                std::int64_t steps) const {
  const Linearization outer(network_, parameters_, outer_images, relu_);
  const Tensor& phi = set_.features();
  const Tensor q = dual(moved);
  const Tensor weights = at::mm(phi.t(), q);  // W [F + 1, C]
  const Tensor outputs = at::mm(outer.features(), weights).add_(outer.pushforward(moved));
  const Tensor wanted = outer_targets.to(outputs.scalar_type());
  const auto [value, by_outputs] = outer_loss(outputs, wanted, std::exp(log_temperature));

  MetaGradient result;
  result.loss = value;
  result.by_log_temperature = sum_product(by_outputs, outputs);
  const Tensor right = outputs.size(1) == 1 ? (outputs * wanted > 0).squeeze(1) : outputs.argmax(1) == wanted.argmax(1);
  result.accuracy = right.to(at::kDouble).mean().item<double>();

  // With G = dloss/dW and dq = A (d(y - J t) - d(Phi Phi') q): dloss = <G, dPhi' q> + <s, d(y - J t) - d(Phi Phi') q>.
  const Tensor by_weights = at::mm(outer.features().t(), by_outputs);  // G
  const Tensor s = solve_dense(at::mm(phi, by_weights));
  const auto by_kernel = [&](const Tensor& left) {  // of -<left, d(Phi Phi') q> by Phi
    return at::mm(left, weights.t()).add_(at::mm(q, at::mm(phi.t(), left).t())).neg_();
  };
  const Tensor by_features = by_kernel(s).add_(at::mm(q, by_weights.t()));
  result.direct = {set_.image_gradient(by_features, {{moved, s.neg()}}), s};

  // <J v, q>: d = <dJ v, q> + <A J v, d(y - J t) - d(Phi Phi') q>.
  const Tensor by_moved = outer.pullback(by_outputs).sub_(set_.pullback(s));
  const Tensor v = solve(by_moved, steps).value;
  const Tensor p = solve_dense(set_.pushforward(v));
  result.implicit = {set_.image_gradient(by_kernel(p), {{moved, p.neg()}, {v, q}}), p};
  return result;
}

}  // namespace afterimage
