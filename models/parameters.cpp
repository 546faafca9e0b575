#include "models/parameters.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <stdexcept>

#include "models/formats/safetensors.h"
#include "models/foundations/error.h"
#include "models/foundations/text.h"

namespace afterimage {

const Tensor& Parameters::at(const std::string& name) const {
  for (const auto& [other, tensor] : entries_) {
    if (other == name) return tensor;
  }
  throw std::out_of_range("no parameter named " + name);
}

bool Parameters::contains(const std::string& name) const {
  for (const auto& entry : entries_) {
    if (entry.first == name) return true;
  }
  return false;
}

const Tensor* Parameters::find(const std::string& name, at::IntArrayRef sizes) const {
  for (const auto& [other, tensor] : entries_) {
    if (other == name) return tensor.sizes() == sizes ? &tensor : nullptr;
  }
  return nullptr;
}

std::int64_t Parameters::count() const {
  std::int64_t total = 0;
  for (const auto& entry : entries_) total += entry.second.numel();
  return total;
}

Parameters Parameters::clone() const {
  return each([](std::size_t, const Tensor& t) { return t.clone(); });
}

Parameters Parameters::to(at::ScalarType dtype) const {
  return each([&](std::size_t, const Tensor& t) { return t.to(dtype); });
}

Parameters Parameters::minus(const Parameters& other) const { return plus(other, -1); }

Parameters Parameters::plus(const Parameters& other, double factor) const {
  if (other.size() != size()) throw std::invalid_argument("parameters of two networks cannot be added");
  return each([&](std::size_t i, const Tensor& t) { return at::add(t, other[i], factor); });
}

Parameters Parameters::times(double factor) const {
  return each([&](std::size_t, const Tensor& t) { return t * factor; });
}

double Parameters::inner(const Parameters& other) const {
  constexpr std::int64_t chunk = 1 << 16;  // summed in float64 without a float64 copy of everything
  double total = 0;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const Tensor a = entries_[i].second.reshape({-1}), b = other[i].reshape({-1});
    for (std::int64_t at = 0; at < a.numel(); at += chunk) {
      const auto count = std::min(chunk, a.numel() - at);
      total += at::dot(a.narrow(0, at, count).to(at::kDouble), b.narrow(0, at, count).to(at::kDouble)).item<double>();
    }
  }
  return total;
}

Parameters zeros_like(const Parameters& parameters) {
  return parameters.each([](std::size_t, const Tensor& tensor) { return at::zeros_like(tensor); });
}

std::vector<Parameters> points_between(const Parameters& initial, const Parameters& trained,
                                       const std::vector<double>& along) {
  const Parameters drift = trained.minus(initial);
  std::vector<Parameters> points;
  points.reserve(along.size());
  for (const double t : along) points.push_back(t == 0 ? initial : t == 1 ? trained : initial.plus(drift, t));
  return points;
}

std::vector<bool> moved(const Parameters& drift) {
  std::vector<bool> moving;
  for (const auto& [name, tensor] : drift.entries()) moving.push_back(tensor.ne(0).any().item<bool>());
  return moving;
}

Parameters completed_start(const Parameters& initial, const Parameters& trained) {
  std::vector<Parameters::Entry> entries;
  for (const auto& [name, tensor] : trained.entries()) {
    const Tensor* known = initial.find(name, tensor.sizes());
    entries.emplace_back(name, known != nullptr ? *known : tensor);
  }
  return Parameters(std::move(entries));
}

void require_same_layout(const Parameters& initial, const std::string& initial_name, const Parameters& trained,
                         const std::string& trained_name) {
  for (const auto& [name, tensor] : trained.entries()) {
    if (!initial.contains(name)) {
      throw InputError(fmt::format("{}: has a tensor \"{}\" that is not in {}; give two checkpoints of one network",
                                   trained_name, printable(name), initial_name));
    }
    const auto& other = initial.at(name);
    if (other.sizes() != tensor.sizes()) {
      throw InputError(fmt::format(
          "{}: tensor \"{}\" is [{}] but in {} it is [{}]; give two checkpoints of one network", trained_name,
          printable(name), fmt::join(tensor.sizes(), ", "), initial_name, fmt::join(other.sizes(), ", ")));
    }
  }
  if (initial.size() != trained.size()) {
    throw InputError(fmt::format("{}: holds {} tensors but {} holds {}; give two checkpoints of one network",
                                 trained_name, trained.size(), initial_name, initial.size()));
  }
}

Parameters arranged_as(const NamedShapes& shapes, const Parameters& parameters, const std::string& file,
                       const std::string& network) {
  std::vector<Parameters::Entry> entries;
  for (const auto& [name, shape] : shapes) {
    if (!parameters.contains(name)) {
      throw InputError(fmt::format("{}: has no tensor \"{}\", which {} needs; give the weights of that network", file,
                                   name, network));
    }
    const Tensor& tensor = parameters.at(name);
    if (tensor.sizes() != shape) {
      throw InputError(fmt::format("{}: tensor \"{}\" is [{}] but that of {} is [{}]", file, name,
                                   fmt::join(tensor.sizes(), ", "), network, fmt::join(shape, ", ")));
    }
    entries.emplace_back(name, tensor);
  }
  if (parameters.size() != shapes.size()) {
    throw InputError(fmt::format("{}: has {} tensors but {} has {}; give the weights of that network", file,
                                 parameters.size(), network, shapes.size()));
  }
  return Parameters(std::move(entries));
}

void write_parameters(const std::filesystem::path& path, const Parameters& parameters) {
  Safetensors content;
  for (const auto& [name, tensor] : parameters.entries()) content.arrays.emplace_back(name, to_array(tensor));
  write_safetensors(path, content);
}

}  // namespace afterimage
