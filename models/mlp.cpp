#include "models/mlp.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cmath>
#include <stdexcept>

#include "models/dense_layers.h"
#include "models/foundations/error.h"
#include "models/foundations/text.h"
#include "models/tangent/mlp_features.h"
#include "models/tangent/mlp_tangents.h"

namespace afterimage {
namespace {

constexpr std::int64_t largest_width = 1 << 20;

}  // namespace

std::vector<std::int64_t> parse_widths(const std::string& architecture, std::string_view text) {
  std::vector<std::int64_t> widths;
  while (true) {
    std::int64_t width = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), width);
    if (error != std::errc() || width < 1 || width > largest_width) break;
    widths.push_back(width);
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (text.empty()) return widths;
    if (text.front() != ',') break;
    text.remove_prefix(1);
  }
  throw UsageError(
      fmt::format("architecture \"{}\": hidden widths have to be whole numbers from 1 to {} with commas "
                  "between them, as in mlp:1000,1000",
                  printable(architecture), largest_width));
}

Mlp::Mlp(std::int64_t inputs, std::vector<std::int64_t> widths, std::int64_t outputs, Parameterization parameterization)
    : DenseNetwork({widths.empty() ? linear_family : fmt::format("mlp:{}", fmt::join(widths, ",")),
                    parameterization == Parameterization::standard ? "standard" : "ntk", inputs, outputs}),
      sizes_(std::move(widths)),
      parameterization_(parameterization) {
  sizes_.insert(sizes_.begin(), inputs);
  sizes_.push_back(outputs);
  for (const auto size : sizes_) {
    if (size < 1 || size > largest_width) {
      throw UsageError(fmt::format("architecture mlp: layer size {} is outside 1 to {}", size, largest_width));
    }
  }
}

std::string Mlp::weight_name(std::int64_t layer) { return fmt::format("fc{}.weight", layer + 1); }
std::string Mlp::bias_name(std::int64_t layer) { return fmt::format("fc{}.bias", layer + 1); }

double Mlp::weight_scale(std::int64_t layer) const {
  return parameterization_ == Parameterization::standard ? 1.0 : 1.0 / std::sqrt(static_cast<double>(sizes_[layer]));
}

AnalyticNtk Mlp::infinite_kernel() const {
  std::vector<AnalyticNtk::Layer> kernel_layers;
  for (std::int64_t l = 0; l < layers(); ++l) {
    const double gain = parameterization_ == Parameterization::standard ? static_cast<double>(sizes_[l]) : 1.0;
    kernel_layers.push_back({1, 0, gain, 1});
  }
  return AnalyticNtk(kernel_layers);
}

std::optional<Parameters> Mlp::draw_initial(Generator& random) const {
  std::vector<Parameters::Entry> entries;
  for (std::int64_t l = 0; l < layers(); ++l) {
    const double deviation =
        parameterization_ == Parameterization::standard ? 1.0 / std::sqrt(static_cast<double>(sizes_[l])) : 1.0;
    entries.emplace_back(weight_name(l), at::randn({sizes_[l + 1], sizes_[l]}, random, at::kFloat).mul_(deviation));
    entries.emplace_back(bias_name(l), at::zeros({sizes_[l + 1]}, at::kFloat));
  }
  return Parameters(std::move(entries));
}

// Parameters of layers of these sizes under other names, by this network's names; a missing bias is zero.
std::optional<Parameters> Mlp::renamed(const Parameters& parameters) const {
  const auto dense = dense_layers(parameters);
  if (!dense || dense->sizes != sizes_) return std::nullopt;
  std::vector<Parameters::Entry> entries;
  for (std::int64_t l = 0; l < layers(); ++l) {
    const auto i = static_cast<std::size_t>(l);
    entries.emplace_back(weight_name(l), parameters.at(dense->weights[i]));
    entries.emplace_back(bias_name(l), dense->biases[i].empty()
                                           ? at::zeros({sizes_[i + 1]}, parameters.at(dense->weights[i]).options())
                                           : parameters.at(dense->biases[i]));
  }
  return Parameters(std::move(entries));
}

Parameters Mlp::arranged(const Parameters& parameters, const std::string& file) const {
  if (auto entries = renamed(parameters)) return *std::move(entries);
  if (const auto reason = why_not_dense(parameters); !reason.empty()) {
    throw InputError(fmt::format("{}: does not hold {}: {}", file, architecture(), reason));
  }
  std::vector<Parameters::Entry> entries;
  const auto take = [&](const std::string& name, at::IntArrayRef shape) {
    if (!parameters.contains(name)) {
      throw InputError(
          fmt::format("{}: has no tensor \"{}\", which {} needs; give the weights of that network or the "
                      "right architecture",
                      file, name, architecture()));
    }
    const Tensor& tensor = parameters.at(name);
    if (tensor.sizes() != shape) {
      throw InputError(fmt::format("{}: tensor \"{}\" is {} but {} on inputs of {} with {} output(s) has {}", file,
                                   name, shape_text(tensor.sizes()), architecture(), inputs(), outputs(),
                                   shape_text(shape)));
    }
    entries.emplace_back(name, tensor);
  };
  for (std::int64_t l = 0; l < layers(); ++l) {
    take(weight_name(l), {sizes_[l + 1], sizes_[l]});
    take(bias_name(l), {sizes_[l + 1]});
  }
  if (static_cast<std::int64_t>(parameters.size()) != 2 * layers()) {
    throw InputError(
        fmt::format("{}: holds {} tensors but {} has {}; give the weights of that network or the right "
                    "architecture",
                    file, parameters.size(), architecture(), 2 * layers()));
  }
  return Parameters(std::move(entries));
}

void Mlp::require_inputs(const Tensor& images) const {
  if (images.dim() != 2 || images.size(1) != inputs()) {
    throw std::invalid_argument(
        fmt::format("{} takes images [n, {}], not {}", architecture(), inputs(), shape_text(images.sizes())));
  }
}

Tensor Mlp::affine(const Parameters& parameters, std::int64_t layer, const Tensor& below) const {
  return at::addmm(parameters[2 * layer + 1], below, parameters[2 * layer].t(), 1, weight_scale(layer));
}

Tensor Mlp::evaluate(const Parameters& parameters, const Tensor& images) const {
  require_inputs(images);
  Tensor h = images.to(parameters.dtype());
  for (std::int64_t l = 0; l < layers(); ++l) {
    h = affine(parameters, l, h);
    if (l + 1 < layers()) h.relu_();
  }
  return h;
}

std::vector<Tensor> Mlp::activations(const Parameters& parameters, const Tensor& images) const {
  require_inputs(images);
  std::vector<Tensor> h = {images.to(parameters.dtype())};
  for (std::int64_t l = 0; l < layers(); ++l) {
    h.push_back(affine(parameters, l, h.back()));
    if (l + 1 < layers()) h.back().relu_();
  }
  return h;
}

Tensor Mlp::below(const Parameters& parameters, std::int64_t layer, const Tensor& delta) const {
  return at::mm(delta, parameters[2 * layer]).mul_(weight_scale(layer));
}

Network::Sloped Mlp::input_gradient(const Parameters& parameters, const Tensor& images,
                                    const Tensor& cotangents) const {
  const std::vector<Tensor> h = activations(parameters, images);
  Tensor delta = cotangents.to(h.back().scalar_type());
  for (std::int64_t l = layers() - 1; l > 0; --l) delta = below(parameters, l, delta).mul_(h[l] > 0);
  return {h.back(), below(parameters, 0, delta)};
}

Parameters Mlp::pullback(const Parameters& parameters, const Tensor& images,
                         const std::function<Tensor(const Tensor&)>& cotangents) const {
  const std::vector<Tensor> h = activations(parameters, images);
  std::vector<Parameters::Entry> entries(2 * layers());
  Tensor delta = cotangents(h.back());
  for (std::int64_t l = layers() - 1; l >= 0; --l) {
    entries[2 * l] = {weight_name(l), at::mm(delta.t(), h[l]).mul_(weight_scale(l))};
    entries[2 * l + 1] = {bias_name(l), delta.sum(0)};
    if (l > 0) delta = below(parameters, l, delta).mul_(h[l] > 0);
  }
  return Parameters(std::move(entries));
}

Parameters Mlp::clipped_pullback(const Parameters& parameters, const Tensor& images,
                                 const std::function<Tensor(const Tensor&)>& cotangents, double clip,
                                 const std::vector<bool>& trained) const {
  const std::vector<Tensor> h = activations(parameters, images);
  const auto squared_norms = [](const Tensor& rows) { return rows.square().sum(1, false, at::kDouble); };
  std::vector<Tensor> delta(layers());
  Tensor norms = at::zeros({images.size(0)}, at::kDouble);  // squared
  delta.back() = cotangents(h.back());
  for (std::int64_t l = layers() - 1; l >= 0; --l) {
    const Tensor signal = squared_norms(delta[l]);
    const double scale = weight_scale(l);
    if (trained[2 * l]) norms.addcmul_(signal, squared_norms(h[l]), scale * scale);
    if (trained[2 * l + 1]) norms.add_(signal);
    if (l > 0) delta[l - 1] = below(parameters, l, delta[l]).mul_(h[l] > 0);
  }
  const Tensor kept = norms.sqrt_().reciprocal_().mul_(clip).clamp_max_(1).to(h.back().scalar_type()).unsqueeze(1);
  std::vector<Parameters::Entry> entries(2 * layers());
  for (std::int64_t l = 0; l < layers(); ++l) {
    delta[l] = delta[l] * kept;  // not in place: the cotangents belong to the caller
    entries[2 * l + 1] = {bias_name(l), trained[2 * l + 1] ? delta[l].sum(0) : at::zeros_like(parameters[2 * l + 1])};
    entries[2 * l] = {weight_name(l), trained[2 * l] ? at::mm(delta[l].mul_(weight_scale(l)).t(), h[l])
                                                     : at::zeros_like(parameters[2 * l])};
  }
  return Parameters(std::move(entries));
}

std::vector<DenseNetwork::LayerSignals> Mlp::layer_signals(const Parameters& parameters, const Tensor& images) const {
  require_inputs(images);
  const MlpFeatures features(weight_scales(), parameters, images.to(parameters.dtype()), {});
  std::vector<LayerSignals> signals;
  for (std::int64_t l = 0; l < layers(); ++l) {
    signals.push_back({weight_scale(l), features.below(l), features.delta(l)});
  }
  return signals;
}

Tensor Mlp::pushforward(const Parameters& parameters, const Parameters& direction, const Tensor& images) const {
  require_inputs(images);
  Tensor h = images.to(parameters.dtype()), change;
  for (std::int64_t l = 0; l < layers(); ++l) {
    Tensor z_change = affine(direction, l, h);
    if (change.defined()) z_change.addmm_(change, parameters[2 * l].t(), 1, weight_scale(l));
    h = affine(parameters, l, h);
    if (l + 1 < layers()) {
      z_change.mul_(h > 0);
      h.relu_();
    }
    change = z_change;
  }
  return change;
}

std::vector<double> Mlp::weight_scales() const {
  std::vector<double> scales;
  for (std::int64_t l = 0; l < layers(); ++l) scales.push_back(weight_scale(l));
  return scales;
}

std::unique_ptr<TangentFeatures> Mlp::features_at(const Parameters& parameters, const Tensor& images,
                                                  Smoothing relu) const {
  return std::make_unique<MlpFeatures>(weight_scales(), parameters, images, relu);
}

Parameters Mlp::in_basis(const Parameters& parameters, const Tensor& basis) const {
  std::vector<Parameters::Entry> entries = parameters.entries();
  entries.front().second = at::mm(parameters[0], basis.to(parameters.dtype()).t());
  return Parameters(std::move(entries));
}

std::unique_ptr<TangentTarget> Mlp::tangents_at(const std::vector<Parameters>& points, const Parameters& drift,
                                                const Tensor& basis) const {
  return std::make_unique<MlpTangents>(weight_scales(), points, drift, basis);
}

std::unique_ptr<TangentTarget> Mlp::tangents_of_neurons(const Tensor& neurons, const std::vector<Parameters>& points,
                                                        const Parameters& drift, const Tensor& basis) const {
  const auto last = static_cast<std::size_t>(2 * (layers() - 1)), hidden = last - 2;
  const auto part_of = [&](const Parameters& whole) {
    std::vector<Parameters::Entry> entries = whole.entries();
    entries[hidden].second = entries[hidden].second.index_select(0, neurons);
    entries[hidden + 1].second = entries[hidden + 1].second.index_select(0, neurons);
    entries[last].second = entries[last].second.index_select(1, neurons);
    return entries;
  };
  std::vector<Parameters> parts;
  for (const auto& point : points) parts.emplace_back(part_of(point));
  // The change of the layers below depends on all neurons. Zeros leave these layers out, as if they were frozen.
  std::vector<Parameters::Entry> change = part_of(drift);
  for (std::size_t i = 0; i < hidden; ++i) change[i].second = at::zeros_like(change[i].second);
  return std::make_unique<MlpTangents>(weight_scales(), parts, Parameters(std::move(change)), basis);
}

std::unique_ptr<DenseNetwork> make_network(const std::string& architecture, const std::string& parameterization,
                                           std::int64_t inputs, std::int64_t outputs) {
  constexpr std::string_view mlp = "mlp:";
  if (architecture != linear_family && !architecture.starts_with(mlp)) {
    throw UsageError(
        fmt::format("architecture \"{}\": unknown family; use mlp:WIDTH,WIDTH,..., linear, convnet:CHANNELS,..., "
                    "low-rank-mlp:WIDTH,WIDTH,..., rnn:WIDTH, lstm:WIDTH, gru:WIDTH, cfc:WIDTH or torchscript:FILE",
                    architecture));
  }
  if (parameterization != "standard" && parameterization != "ntk") {
    throw UsageError(fmt::format("parameterization \"{}\": has to be standard or ntk", parameterization));
  }
  std::vector<std::int64_t> widths;
  if (architecture != linear_family) {
    widths = parse_widths(architecture, std::string_view(architecture).substr(mlp.size()));
  }
  return std::make_unique<Mlp>(inputs, std::move(widths), outputs,
                               parameterization == "ntk" ? Parameterization::ntk : Parameterization::standard);
}

}  // namespace afterimage
