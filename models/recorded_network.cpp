#include "models/recorded_network.h"

#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>

#include "models/tangent/autograd_tangents.h"

namespace afterimage {

namespace {

constexpr double chunk_budget = 0.5 * (1 << 30);  // bytes of tensors alive while a chunk of images is worked on
constexpr std::int64_t largest_chunk = 4096;

}  // namespace

void RecordedNetwork::set_chunk(double bytes_of_image) {
  chunk_ = std::clamp(static_cast<std::int64_t>(chunk_budget / bytes_of_image), std::int64_t{1}, largest_chunk);
}

void RecordedNetwork::measure_chunk(const Parameters& parameters) {
  chunk_ = images_at_once(largest_chunk, chunk_budget, [&](std::int64_t count) {
    Differentiated(recorded(), parameters).combined(at::zeros({count, inputs()}), at::ones({count, outputs()}), {});
  });
}

Tensor RecordedNetwork::evaluate(const Parameters& parameters, const Tensor& given) const {
  const c10::NoGradGuard no_gradients;
  const Tensor images = given.to(parameters.dtype());
  const Differentiated network(recorded(), parameters);
  std::vector<Tensor> outputs{at::empty({0, this->outputs()}, images.options())};
  for (const Range& range : ranges(images.size(0), chunk_)) {
    outputs.push_back(network.outputs(images.narrow(0, range.first, range.count), {}));
  }
  return at::cat(outputs);
}

Network::Sloped RecordedNetwork::input_gradient(const Parameters& parameters, const Tensor& given,
                                                const Tensor& given_cotangents) const {
  const at::AutoGradMode record(true);
  const auto dtype = parameters.dtype();
  const Tensor images = given.to(dtype), cotangents = given_cotangents.to(dtype);
  const Differentiated network(recorded(), parameters, std::vector<bool>(parameters.size(), false));
  Sloped all{at::empty({images.size(0), outputs()}, images.options()), at::zeros_like(images)};
  for (const Range& range : ranges(images.size(0), chunk_)) {
    const Tensor some = images.narrow(0, range.first, range.count).detach().requires_grad_(true);
    const Tensor outputs = network.outputs(some, {});
    const auto gradient =
        torch::autograd::grad({outputs}, {some}, {cotangents.narrow(0, range.first, range.count)}, false, false, true);
    const c10::NoGradGuard no_gradients;
    all.outputs.narrow(0, range.first, range.count).copy_(outputs);
    if (gradient[0].defined()) all.gradient.narrow(0, range.first, range.count).copy_(gradient[0]);
  }
  return all;
}

Parameters RecordedNetwork::pullback(const Parameters& parameters, const Tensor& given,
                                     const std::function<Tensor(const Tensor&)>& cotangents) const {
  const Tensor images = given.to(parameters.dtype());
  const Differentiated network(recorded(), parameters);
  std::vector<Tensor> sum(parameters.size());
  const auto add = [&](const std::vector<Tensor>& gradients) {
    for (std::size_t k = 0; k < sum.size(); ++k) {
      if (gradients[k].defined()) sum[k] = sum[k].defined() ? sum[k] + gradients[k] : gradients[k];
    }
  };
  const auto add_of = [&](const Tensor& outputs, const Tensor& by_outputs) {
    if (outputs.requires_grad()) {
      add(torch::autograd::grad({outputs}, network.leaves(), {by_outputs}, false, false, true));
    }
  };
  if (images.size(0) <= chunk_) {  // one pass gives outputs and gradient
    const at::AutoGradMode record(true);
    const Tensor outputs = network.outputs(images, {});
    add_of(outputs, cotangents(outputs.detach()));
  } else {
    const Tensor all = cotangents(evaluate(parameters, images));
    for (const Range& range : ranges(images.size(0), chunk_)) {
      add(network.combined(images.narrow(0, range.first, range.count), all.narrow(0, range.first, range.count), {}));
    }
  }
  return parameters.each(
      [&](std::size_t k, const Tensor& tensor) { return sum[k].defined() ? sum[k] : at::zeros_like(tensor); });
}

Tensor RecordedNetwork::pushforward(const Parameters& parameters, const Parameters& direction,
                                    const Tensor& given) const {
  const Tensor images = given.to(parameters.dtype());
  const Differentiated network(recorded(), parameters);
  std::vector<Tensor> along;
  for (const auto& [name, tensor] : direction.entries()) along.push_back(tensor);
  std::vector<Tensor> changes{at::empty({0, this->outputs()}, images.options())};
  const std::int64_t size = std::max<std::int64_t>(chunk_ / 2, 1);  // two derivatives keep twice as much
  for (const Range& range : ranges(images.size(0), size)) {
    changes.push_back(network.along(along, images.narrow(0, range.first, range.count), {}));
  }
  return at::cat(changes);
}

std::unique_ptr<TangentTarget> RecordedNetwork::tangents_at(const std::vector<Parameters>& points,
                                                            const Parameters& drift) const {
  return std::make_unique<AutogradTangents>(recorded(), inputs(), outputs(), points, drift);
}

}  // namespace afterimage
