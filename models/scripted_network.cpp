#include "models/scripted_network.h"

#include <c10/core/GradMode.h>
#include <c10/util/accumulate.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "models/foundations/error.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

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
    : RecordedNetwork({std::move(architecture), "standard", c10::multiply_integers(input_shape), outputs}),
      script_(std::make_shared<Script>(archive)),
      input_shape_(std::move(input_shape)) {
  find_layout();
  require_plain_function();
  measure_chunk(archived());
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

}  // namespace afterimage
