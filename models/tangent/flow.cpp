#include "models/tangent/flow.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <stdexcept>

namespace afterimage {
namespace {

// Below this |u| the derivative of (1 - e^-u) / u is summed as a series: the closed form cancels.
constexpr double small_exponent = 1e-2;
// For eigenvalues nearer than this share of their size the divided difference is replaced by the derivative.
constexpr double near_share = 1e-4;

// One segment, with what the backward sweep needs. `residual` is in the basis of the kernel's eigenvectors.
struct Segment {
  std::unique_ptr<TangentFeatures> features;
  Tensor values, vectors, residual;  // float64
  double time = 0;
  Tensor coefficients;  // [n, C], of all images
};

// tau phi_1(-lambda tau), which is 1 / lambda at infinity.
Tensor weight_of(const Tensor& values, double time) { return -at::expm1(values * -time) / values; }

// Its derivative by lambda, elementwise, at a finite time.
Tensor slope_of(const Tensor& values, double time) {
  const Tensor u = values * time;
  const Tensor plain = (at::expm1(-u) + u * at::exp(-u)) / values.square();
  const Tensor series = (u * (u * (u / 30 - 0.125) + 1.0 / 3) - 0.5) * (time * time);
  return at::where(u.abs() < small_exponent, series, plain);
}

// (w(a) - w(b)) / (a - b) for every pair of eigenvalues.
Tensor divided_differences(const Tensor& values, double time) {
  const Tensor a = values.unsqueeze(1), b = values.unsqueeze(0);
  if (std::isinf(time)) return -(a * b).reciprocal();
  const Tensor weight = weight_of(values, time), gap = a - b;
  const Tensor near = gap.abs() <= near_share * at::maximum(a.abs(), b.abs());
  const Tensor plain = (weight.unsqueeze(1) - weight.unsqueeze(0)) / at::where(near, at::ones_like(gap), gap);
  return at::where(near, slope_of((a + b) / 2, time), plain);
}

// The time after which the share `keep` of |r|^2 is left, by bisection of its logarithm: |r|^2 falls monotonically. Not
// by Boost's root finders, which throw unless there is a change of sign: where more than that share never decays
// (singular kernels), the end of the range is the result.
double time_until(const Segment& modes, double keep) {
  const double fastest = modes.values.max().item<double>();
  const Tensor energy = modes.residual.square();
  const double wanted = keep * energy.sum().item<double>();
  double low = 1e-6 / fastest, high = 1e9 / fastest;
  constexpr int halvings = 60;
  for (int i = 0; i < halvings; ++i) {
    const double middle = std::sqrt(low * high);
    const double left = (energy * at::exp(modes.values * (-2 * middle))).sum().item<double>();
    (left > wanted ? low : high) = middle;
  }
  return std::sqrt(low * high);
}

// The segment from `at`; `time` 0: as long as the plan says. Null where its kernel is not finite.
std::optional<Segment> segment_at(const DenseNetwork& network, const Parameters& at, const FlowImages& set,
                                  const FlowPlan& plan, Smoothing relu, std::int64_t number, double time) {
  const std::int64_t following = set.targets.size(0);
  Segment segment;
  segment.features = network.features_at(at, set.images, relu);
  Tensor kernel = segment.features->gram(following).to(at::kDouble);
  if (!kernel.isfinite().all().item<bool>()) return std::nullopt;
  kernel.diagonal().add_(plan.ridge * kernel.diagonal().mean().item<double>());
  const Tensor residual =
      (set.targets - segment.features->outputs().narrow(0, 0, following)).to(at::kDouble).reshape({-1, 1});
  std::tie(segment.values, segment.vectors) = at::linalg_eigh(kernel);
  segment.residual = at::mm(segment.vectors.t(), residual).squeeze(1);
  const bool last = number + 1 == plan.segments;
  segment.time = time > 0 ? time : last ? std::numeric_limits<double>::infinity() : time_until(segment, plan.keep);
  segment.coefficients = at::mv(segment.vectors, weight_of(segment.values, segment.time) * segment.residual)
                             .view_as(set.targets)
                             .to(set.images.scalar_type());
  if (set.coefficients.defined()) segment.coefficients = at::cat({segment.coefficients, set.coefficients[number]});
  return segment;
}

// The derivatives by the kernel and by all outputs, from the derivatives <adjoint, phi> by the coefficients [m, C].
TangentFeatures::Weights through_coefficients(const Segment& segment, const Tensor& by_coefficients, double ridge) {
  const Tensor by_modes = at::mv(segment.vectors.t(), by_coefficients.to(at::kDouble).reshape({-1}));
  Tensor gram = divided_differences(segment.values, segment.time) * at::outer(by_modes, segment.residual);
  gram = at::mm(at::mm(segment.vectors, (gram + gram.t()) / 2), segment.vectors.t());
  gram.diagonal().add_(ridge * gram.diagonal().mean().item<double>());
  const Tensor by_residual = at::mv(segment.vectors, weight_of(segment.values, segment.time) * by_modes);
  Tensor outputs = at::zeros_like(segment.coefficients);
  outputs.narrow(0, 0, by_coefficients.size(0)).copy_(by_residual.view_as(by_coefficients)).neg_();
  return {gram.to(outputs.scalar_type()), outputs};
}

// Throws std::invalid_argument where shapes do not fit.
void require_flow(const FlowImages& set, const FlowPlan& plan) {
  const std::int64_t following = set.targets.size(0), free = set.images.size(0) - following;
  if (following == 0 || plan.segments < 1) throw std::invalid_argument("a flow needs images and at least one segment");
  if (free < 0 || (free > 0) != set.coefficients.defined() ||
      (free > 0 && (set.coefficients.size(0) != plan.segments || set.coefficients.size(1) != free))) {
    throw std::invalid_argument("images whose coefficients do not follow from the flow need one in each segment");
  }
}

struct Followed {
  std::vector<Segment> segments;  // fewer where the flow diverges; the members below are then not set
  Parameters missed;              // the end minus the trained parameters
  double norm = 0;                // ||theta_f - theta_0||^2
  double mismatch = std::numeric_limits<double>::infinity();
};

Followed follow(const DenseNetwork& network, const Parameters& start, const Parameters& trained,
                const FlowImages& images, const FlowPlan& plan, Smoothing relu, const std::vector<double>& times) {
  require_flow(images, plan);
  Followed flow;
  Parameters end = start;
  for (std::int64_t k = 0; k < plan.segments; ++k) {
    const double time = times.empty() ? 0 : times.at(static_cast<std::size_t>(k));
    auto segment = segment_at(network, end, images, plan, relu, k, time);
    if (!segment) return flow;
    end = end.plus(segment->features->combined(segment->coefficients));
    flow.segments.push_back(std::move(*segment));
  }
  flow.missed = end.minus(trained);
  flow.norm = trained.minus(start).squared_norm();
  const double mismatch = flow.missed.squared_norm() / flow.norm;
  if (std::isfinite(mismatch)) flow.mismatch = mismatch;
  return flow;
}

bool is_finite(const Parameters& parameters) {
  const auto& entries = parameters.entries();
  return std::all_of(entries.begin(), entries.end(),
                     [](const Parameters::Entry& entry) { return entry.second.isfinite().all().item<bool>(); });
}

}  // namespace

std::vector<Parameters> gradient_flow(const DenseNetwork& network, const Parameters& start, const Tensor& images,
                                      const Tensor& targets, const FlowPlan& plan) {
  const FlowImages set{images, targets, {}};
  require_flow(set, plan);
  std::vector<Parameters> path{start};
  for (std::int64_t k = 0; k < plan.segments; ++k) {
    const auto segment = segment_at(network, path.back(), set, plan, {}, k, 0);
    if (!segment) throw std::runtime_error("the flow diverges");
    path.push_back(path.back().plus(segment->features->combined(segment->coefficients)));
  }
  if (!is_finite(path.back())) throw std::runtime_error("the flow diverges");
  return path;
}

double flow_mismatch(const DenseNetwork& network, const Parameters& start, const Parameters& trained,
                     const FlowImages& images, const FlowPlan& plan, Smoothing relu) {
  return follow(network, start, trained, images, plan, relu, {}).mismatch;
}

FlowLoss flow_loss(const DenseNetwork& network, const Parameters& start, const Parameters& trained,
                   const FlowImages& images, const FlowPlan& plan, Smoothing relu, const std::vector<double>& times) {
  const Followed flow = follow(network, start, trained, images, plan, relu, times);
  FlowLoss loss;
  loss.value = flow.mismatch;
  if (std::isinf(loss.value)) return loss;
  const std::int64_t following = images.targets.size(0), free = images.images.size(0) - following;
  loss.by_images = at::zeros_like(images.images);
  if (free > 0) loss.by_coefficients = at::empty_like(images.coefficients);
  std::vector<Tensor> coefficients;
  for (const Segment& segment : flow.segments) {
    loss.times.push_back(segment.time);
    coefficients.push_back(segment.coefficients);
  }
  loss.coefficients = at::stack(coefficients);
  Parameters adjoint = flow.missed.times(2 / flow.norm);
  for (std::int64_t k = plan.segments - 1; k >= 0; --k) {
    const Segment& segment = flow.segments[static_cast<std::size_t>(k)];
    const auto gradient = segment.features->gradient(adjoint, segment.coefficients, [&](const Tensor& along) {
      if (free > 0) loss.by_coefficients[k].copy_(along.narrow(0, following, free));
      return through_coefficients(segment, along.narrow(0, 0, following), plan.ridge);
    });
    loss.by_images.add_(gradient.by_images);
    if (k > 0) adjoint = adjoint.plus(gradient.by_parameters);
  }
  return loss;
}

}  // namespace afterimage
