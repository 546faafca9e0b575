#include "models/scripted_network.h"

#include <c10/core/GradMode.h>
#include <c10/util/accumulate.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/autograd.h>

#include "models/foundations/error.h"
#include "models/foundations/text.h"
#include "models/tangent/autograd_tangents.h"

namespace afterimage {
namespace {

constexpr double chunk_budget = 0.5 * (1 << 30);  // bytes of tensors alive while a chunk of images is worked on
constexpr std::int64_t largest_chunk = 4096;
constexpr double same_output = 1e-3;  // relative: float32 sums differ with the number of images

Tensor laid_out(const Tensor& images, const std::vector<std::int64_t>& shape) {
  const std::int64_t count = images.size(0);
  if (shape.size() == 1) return images.clone();
  if (shape.size() == 2) return images.reshape({count, 1, shape[0], shape[1]}).clone();
  return images.reshape({count, shape[0], shape[1], shape[2]}).permute({0, 3, 1, 2}).contiguous().clone();
}

}  // namespace

ScriptedNetwork::ScriptedNetwork(const std::filesystem::path& archive, std::string architecture,
                                 std::vector<std::int64_t> input_shape, std::int64_t outputs)
    : Network({std::move(architecture), "standard", c10::multiply_integers(input_shape), outputs}),
      script_(std::make_shared<Script>(archive)),
      input_shape_(std::move(input_shape)) {
  find_layout();
  require_plain_function();
  chunk_ = images_at_once(largest_chunk, chunk_budget, [&](std::int64_t count) {
    Differentiated(recorded(), archived()).combined(at::zeros({count, inputs()}), at::ones({count, outputs}), {});
  });
}

Recorded ScriptedNetwork::recorded() const {
  // On a copy: code that works in place must not change the caller's images.
  return [script = script_, shape = input_shape_, layout = layout_, wanted = outputs()](
             const std::vector<Tensor>& parameters, const Tensor& images, Smoothing relu) {
    const Tensor input = layout == Layout::flat ? images.clone() : laid_out(images, shape);
    Tensor outputs = script->run(parameters, input, relu);
    if (wanted == 1 && outputs.dim() == 1) outputs = outputs.unsqueeze(1);
    if (outputs.dim() != 2 || outputs.size(0) != images.size(0) || outputs.size(1) != wanted) {
      throw InputError(fmt::format("{}: gives {} for {} images; its outputs have to be [{}, {}]", script->file(),
                                   shape_text(outputs.sizes()), images.size(0), images.size(0), wanted));
    }
    return outputs;
  };
}

// Pictures, or flat inputs where the module does not accept pictures.
void ScriptedNetwork::find_layout() {
  const c10::NoGradGuard no_gradients;
  const Tensor images = at::zeros({2, inputs()});
  const auto attempt = [&] { Differentiated(recorded(), archived()).outputs(images, {}); };
  try {
    layout_ = Layout::pictures;
    attempt();
  } catch (const InputError&) {
    if (input_shape_.size() == 1) throw;
    layout_ = Layout::flat;
    try {
      attempt();
      return;
    } catch (const InputError&) {  // the error about pictures says more
    }
    layout_ = Layout::pictures;
    attempt();
  }
}

void ScriptedNetwork::require_plain_function() const {
  const c10::NoGradGuard no_gradients;
  Generator random = seeded(0);
  const Tensor images = at::rand({3, inputs()}, random, at::kFloat);
  const Differentiated network(recorded(), archived());
  const Tensor together = network.outputs(images, {}), again = network.outputs(images, {});
  const Tensor alone = network.outputs(images.narrow(0, 0, 1), {});
  const double size = together.abs().max().item<double>();
  const auto differ = [&](const Tensor& a, const Tensor& b) {
    return !((a - b).abs().max().item<double>() <= same_output * size);
  };
  if (differ(together, again)) {
    throw InputError(script_->file() +
                     ": gives different outputs each time, as with dropout; call eval() before tracing");
  }
  if (differ(together.narrow(0, 0, 1), alone)) {
    throw InputError(
        script_->file() +
        ": its outputs for an image depend on the other images, as with batch normalisation in training mode; call "
        "eval() before tracing");
  }
}

Parameters ScriptedNetwork::arranged(const Parameters& parameters, const std::string& file) const {
  std::vector<Parameters::Entry> entries;
  for (const auto& [name, own] : archived().entries()) {
    if (!parameters.contains(name)) {
      throw InputError(fmt::format("{}: has no tensor \"{}\", which {} needs; give the weights of that network", file,
                                   printable(name), architecture()));
    }
    const Tensor& tensor = parameters.at(name);
    if (tensor.sizes() != own.sizes()) {
      throw InputError(fmt::format("{}: tensor \"{}\" is {} but that of {} is {}", file, printable(name),
                                   shape_text(tensor.sizes()), architecture(), shape_text(own.sizes())));
    }
    entries.emplace_back(name, tensor);
  }
  for (const auto& [name, tensor] : parameters.entries()) {
    if (archived().contains(name) || script_->other_tensors().count(name) > 0) continue;
    throw InputError(fmt::format("{}: tensor \"{}\" does not belong to {}; give the weights of that network", file,
                                 printable(name), architecture()));
  }
  return Parameters(std::move(entries));
}

Tensor ScriptedNetwork::evaluate(const Parameters& parameters, const Tensor& given) const {
  const c10::NoGradGuard no_gradients;
  const Tensor images = given.to(parameters.dtype());
  const Differentiated network(recorded(), parameters);
  std::vector<Tensor> outputs{at::empty({0, this->outputs()}, images.options())};
  for (const Range& range : ranges(images.size(0), chunk_)) {
    outputs.push_back(network.outputs(images.narrow(0, range.first, range.count), {}));
  }
  return at::cat(outputs);
}

Network::Sloped ScriptedNetwork::input_gradient(const Parameters& parameters, const Tensor& given,
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

Parameters ScriptedNetwork::pullback(const Parameters& parameters, const Tensor& given,
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
  std::vector<Parameters::Entry> entries;
  for (std::size_t k = 0; k < sum.size(); ++k) {
    entries.emplace_back(parameters.entries()[k].first, sum[k].defined() ? sum[k] : at::zeros_like(parameters[k]));
  }
  return Parameters(std::move(entries));
}

Tensor ScriptedNetwork::pushforward(const Parameters& parameters, const Parameters& direction,
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

std::unique_ptr<TangentTarget> ScriptedNetwork::tangents_at(const std::vector<Parameters>& points,
                                                            const Parameters& drift) const {
  return std::make_unique<AutogradTangents>(recorded(), inputs(), outputs(), points, drift);
}

}  // namespace afterimage
