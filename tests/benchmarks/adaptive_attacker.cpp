// An attacker who knows that a network was trained on a distilled set, and how that was made, searches from the
// distilled images for the originals.
//
//   adaptive_attacker RUN [STEPS]        RUN: what `train --defense kip` or `--defense rkip` wrote
//
// The attacker has more than in practice: the exact distilled images and labels, and the number of originals. Three
// claims are scored against the originals as in an audit:
//   as they are   the distilled images themselves;
//   predictions   images that the distilled set's kernel predictor puts at +-1, as KIP's are (its loss is zero there);
//   stationarity  images T with coefficients whose function h_T has at every distilled image the value and the slope of
//                 h_S: at the minimum of RKIP's loss both derivatives of |h_T - h_S|^2 are zero, by the coefficient
//                 h_T(x_s) = h_S(x_s), by the image grad h_T(x_s) = grad h_S(x_s). Pixels that were clamped are left
//                 out: their slope is not zero there.
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/optim/adam.h>

#include <cmath>
#include <cstdlib>

#include "attacks/scoring/score.h"
#include "audit/audit_input.h"
#include "audit/context.h"
#include "models/data/labelled_images.h"

namespace {

using namespace afterimage;

struct Distilled {
  Tensor images, labels;  // [M, d], [M, C] float64
};

// The kernel in differentiable operations, as second derivatives are needed (models/tangent/analytic_ntk.h).
Tensor kernel_of(const AnalyticNtk& ntk, const Tensor& a, const Tensor& b) {
  const auto& layers = ntk.layers();
  const double d = static_cast<double>(a.size(1));
  const auto start = [&](const Tensor& c) { return layers[0].weight_variance * c + layers[0].bias_variance; };
  Tensor own_a = start(a.square().sum(1) / d).unsqueeze(1), own_b = start(b.square().sum(1) / d).unsqueeze(0);
  const Tensor c = at::mm(a, b.t()) / d;
  Tensor sigma = start(c), theta = layers[0].weight_gain * c + layers[0].bias_gain;
  for (std::size_t l = 1; l < layers.size(); ++l) {
    const auto& layer = layers[l];
    const Tensor r = (own_a * own_b).sqrt();
    const Tensor rho = (sigma / r).clamp(-1 + 1e-12, 1 - 1e-12);
    const Tensor open = M_PI - at::acos(rho);
    const Tensor s = r * (rho * open + (1 - rho.square()).sqrt()) / (2 * M_PI);
    theta = layer.weight_gain * s + layer.bias_gain + layer.weight_variance * theta * open / (2 * M_PI);
    sigma = layer.weight_variance * s + layer.bias_variance;
    own_a = layer.weight_variance * own_a / 2 + layer.bias_variance;
    own_b = layer.weight_variance * own_b / 2 + layer.bias_variance;
  }
  return theta;
}

Tensor outside(const Tensor& images, const ImageSpace& space) {
  return (images - at::max(at::min(images, space.upper()), space.lower())).square().sum();
}

// Adam at 0.02, falling, from noise of a pixel's size.
template <class Loss>
Tensor searched(const Loss& loss, std::vector<Tensor> unknowns, std::int64_t steps) {
  for (auto& unknown : unknowns) unknown.requires_grad_(true);
  torch::optim::Adam adam(unknowns, torch::optim::AdamOptions(0.02));
  double value = 0;
  for (std::int64_t step = 0; step < steps; ++step) {
    const double share = static_cast<double>(step) / static_cast<double>(steps);
    static_cast<torch::optim::AdamOptions&>(adam.param_groups()[0].options()).lr(0.02 * std::min(1.0, 2 * (1 - share)));
    adam.zero_grad();
    const Tensor now = loss();
    now.backward();
    adam.step();
    value = now.item<double>();
  }
  fmt::print("  loss at the end {:.3g}\n", value);
  return unknowns.front().detach();
}

void report(const char* name, const Tensor& images, const Truth& truth) {
  Generator random = seeded(1);
  Claim claim;
  claim.images = images.to(at::kFloat);
  const Score result = score(claim, truth, random);
  double nearest = 0;
  for (const double distance : result.member_distances)
    nearest += distance / static_cast<double>(truth.training.size(0));
  fmt::print(
      "{:<13} {} of {} originals (control {} of {}, p = {:.2g}), membership AUC {:.3f}, mean distance to the nearest "
      "{:.3f}\n",
      name, result.reconstructed->count, result.reconstructed->of, result.control->count, result.control->of,
      *result.p_value, result.membership->auc, nearest);
}

Tensor by_predictions(const AnalyticNtk& ntk, const Distilled& set, const Tensor& a, const ImageSpace& space,
                      std::int64_t count, std::int64_t steps, Generator& random) {
  const Tensor images = 0.2 * at::randn({count, set.images.size(1)}, random, at::kDouble);
  const Tensor wanted = (at::arange(count, at::kLong).remainder(2) * 2 - 1).to(at::kDouble).unsqueeze(1);
  return searched(
      [&] { return (at::mm(kernel_of(ntk, images, set.images), a) - wanted).square().sum() + outside(images, space); },
      {images}, steps);
}

Tensor by_stationarity(const AnalyticNtk& ntk, const Distilled& set, const Tensor& a, const ImageSpace& space,
                       std::int64_t count, std::int64_t steps, Generator& random) {
  constexpr double at_bound = 1e-4;
  const Tensor free =
      ((set.images > space.lower() + at_bound) * (set.images < space.upper() - at_bound)).to(at::kDouble);
  Tensor points = set.images.clone().requires_grad_(true);
  const Tensor values = at::mm(ntk(set.images, set.images), a);
  // By the first argument alone, as h_T's slope is; at x_s itself that is half of the slope of k(x, x).
  const Tensor slopes = ntk.product(set.images, set.images, a, at::ones_like(a)).gradient * free;
  const double value_norm = values.square().sum().item<double>(), slope_norm = slopes.square().sum().item<double>();
  const Tensor images = 0.2 * at::randn({count, set.images.size(1)}, random, at::kDouble);
  const Tensor coefficients = a.abs().mean() * at::randn({count, a.size(1)}, random, at::kDouble);
  return searched(
      [&] {
        const Tensor learned = at::mm(kernel_of(ntk, points, images), coefficients);
        const Tensor slope = torch::autograd::grad({learned.sum()}, {points}, {}, true, true)[0];
        return (learned - values).square().sum() / value_norm + (slope * free - slopes).square().sum() / slope_norm +
               0.01 * outside(images, space);
      },
      {images, coefficients}, steps);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "adaptive_attacker RUN [STEPS]\n");
    return 2;
  }
  const std::string run = argv[1];
  const std::int64_t steps = argc > 2 ? std::stoll(argv[2]) : 2000;
  const AuditInput input = load_audit_input(files_of_run(run), {}, 1);
  const AnalyticNtk ntk = input.subject.trained_network()->dense()->infinite_kernel();
  const LabelledImages stored = load_images("npz:" + run + "/support-set.npz");
  const ImageSpace space = input.subject.space.to(at::kDouble);
  const Distilled set{space.inputs(stored.images.flatten(1).to(at::kDouble)), stored.targets.to(at::kDouble)};
  Tensor kernel = ntk(set.images, set.images);
  kernel.diagonal().add_(1e-8 * kernel.diagonal().mean());
  const Tensor a = at::linalg_solve(kernel, set.labels);
  const std::int64_t count = input.truth.training.size(0);
  Generator random = seeded(2);
  report("as they are", set.images, input.truth);
  report("predictions", by_predictions(ntk, set, a, space, count, steps, random), input.truth);
  report("stationarity", by_stationarity(ntk, set, a, space, count, steps, random), input.truth);
  return 0;
}
