#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <set>
#include <unordered_map>

#include "models/foundations/error.h"
#include "models/foundations/text.h"
#include "models/weights.h"

namespace afterimage {
namespace {

using Entries = std::vector<Parameters::Entry>;

// Keras and Flax: "dense/kernel", in older Keras "dense/kernel:0".
void take_over_kernels(Entries& entries, std::vector<std::string>& notes) {
  constexpr std::string_view kernel = ".kernel", version = ":0";
  bool slashes = false;
  std::size_t kernels = 0;
  for (auto& [name, tensor] : entries) {
    if (name.find('/') != std::string::npos) {
      slashes = true;
      std::replace(name.begin(), name.end(), '/', '.');
      if (name.ends_with(version)) name.resize(name.size() - version.size());
    }
    if (!name.ends_with(kernel) || tensor.dim() < 2) continue;
    name.replace(name.size() - kernel.size(), kernel.size(), ".weight");
    std::vector<std::int64_t> order = {tensor.dim() - 1, tensor.dim() - 2};
    for (std::int64_t k = 0; k + 2 < tensor.dim(); ++k) order.push_back(k);
    tensor = tensor.permute(order).contiguous();
    ++kernels;
  }
  if (slashes) notes.emplace_back("\"/\" in names is read as \".\"");
  if (kernels > 0) {
    notes.push_back(fmt::format("{} kernels [..., in, out] are read as weights [out, in, ...]", kernels));
  }
}

// numpy.savez of Keras' get_weights() names arrays arr_0, arr_1, ...: a kernel [in, out] and its bias [out] in turn.
// They get names where no other reading fits: all kernels [out, in] would fit too if all are square.
void name_by_position(Entries& entries, std::vector<std::string>& notes) {
  if (entries.size() < 4 || entries.size() % 2 != 0) return;
  bool as_keras = true, as_pytorch = true;
  for (std::size_t i = 0; i < entries.size(); i += 2) {
    const auto& [weight_name, weight] = entries[i];
    const auto& [bias_name, bias] = entries[i + 1];
    if (weight_name != fmt::format("arr_{}", i) || bias_name != fmt::format("arr_{}", i + 1) || weight.dim() != 2 ||
        bias.dim() != 1) {
      return;
    }
    const auto follows = [&](std::int64_t out, std::int64_t in) {
      return bias.size(0) == weight.size(out) &&
             (i + 2 == entries.size() ||
              (entries[i + 2].second.dim() == 2 && entries[i + 2].second.size(in) == weight.size(out)));
    };
    as_keras = as_keras && follows(1, 0);
    as_pytorch = as_pytorch && follows(0, 1);
  }
  if (as_keras == as_pytorch) return;
  for (std::size_t i = 0; i < entries.size(); i += 2) {
    entries[i].first = fmt::format("{}.weight", i / 2);
    entries[i + 1].first = fmt::format("{}.bias", i / 2);
    if (as_keras) entries[i].second = entries[i].second.t().contiguous();
  }
  notes.push_back(fmt::format("arrays without names are read as weights {} and biases in turn",
                              as_keras ? "[in, out]" : "[out, in]"));
}

// The tensors that a normalised weight is made of, by what follows the module's name.
struct Normalisation {
  const char* what;
  std::string_view first;                                                     // whose place the weight takes
  std::vector<std::string_view> others;                                       // all of them have to be there
  Tensor (*compose)(const Tensor& first, const std::vector<Tensor>& others);  // undefined where shapes do not fit
};

// The norm is over the dimensions of which `length` has one number: all but the first, unless told otherwise.
Tensor direction_times_length(const Tensor& length, const std::vector<Tensor>& directions) {
  const Tensor& direction = directions[0];
  if (direction.numel() == 0 || (length.dim() != direction.dim() && length.dim() != 0)) return {};
  std::vector<std::int64_t> over;
  for (std::int64_t k = 0; k < direction.dim(); ++k) {
    if (length.dim() == 0 || length.size(k) == 1) {
      over.push_back(k);
    } else if (length.size(k) != direction.size(k)) {
      return {};
    }
  }
  return direction * (length / direction.norm(2, over, /*keepdim=*/true));
}

Tensor over_largest_singular_value(const Tensor& weight, const std::vector<Tensor>& vectors) {
  const Tensor &u = vectors[0], &v = vectors[1];
  if (weight.dim() < 2 || u.dim() != 1 || v.dim() != 1 || u.size(0) != weight.size(0) ||
      v.numel() * weight.size(0) != weight.numel()) {
    return {};
  }
  return weight / at::dot(u, at::mv(weight.flatten(1), v));
}

const std::array<Normalisation, 4>& normalisations() {
  static const std::array<Normalisation, 4> all = {
      {{"weight normalisation",
        ".parametrizations.weight.original0",
        {".parametrizations.weight.original1"},
        direction_times_length},
       {"weight normalisation", ".weight_g", {".weight_v"}, direction_times_length},
       {"spectral normalisation",
        ".parametrizations.weight.original",
        {".parametrizations.weight.0._u", ".parametrizations.weight.0._v"},
        over_largest_singular_value},
       {"spectral normalisation", ".weight_orig", {".weight_u", ".weight_v"}, over_largest_singular_value}}};
  return all;
}

void compose(Entries& entries, std::vector<std::string>& notes, const std::string& file) {
  for (const auto& [what, first, others, composed] : normalisations()) {
    std::size_t count = 0;
    std::set<std::size_t> used;
    std::unordered_map<std::string, std::size_t> places;
    for (std::size_t i = 0; i < entries.size(); ++i) places.emplace(entries[i].first, i);
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const std::string& name = entries[i].first;
      if (!name.ends_with(first)) continue;
      const std::string module = name.substr(0, name.size() - first.size());
      std::vector<Tensor> parts;
      for (const auto& other : others) {
        if (const auto at = places.find(module + std::string(other)); at != places.end()) {
          parts.push_back(entries[at->second].second);
          used.insert(at->second);
        }
      }
      if (parts.size() != others.size()) continue;
      const Tensor weight = composed(entries[i].second, parts);
      if (!weight.defined() || !at::isfinite(weight).all().item<bool>()) {
        throw InputError(
            fmt::format("{}: the {} of \"{}\" has shapes or values that make no weight; save the network "
                        "without it (remove_parametrizations)",
                        file, what, printable(module)));
      }
      entries[i] = {module + ".weight", weight};
      ++count;
    }
    if (count == 0) continue;
    Entries kept;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (!used.contains(i)) kept.push_back(entries[i]);
    }
    entries = std::move(kept);
    notes.push_back(fmt::format("the {} of {} layers is carried out", what, count));
  }
}

}  // namespace

void to_pytorch_layout(Weights& weights, const std::string& file) {
  Entries entries = weights.parameters.entries();
  if (!weights.of_pickle) take_over_kernels(entries, weights.notes);
  name_by_position(entries, weights.notes);
  compose(entries, weights.notes, file);
  if (const auto* name = repeated_name(entries, [](const auto& entry) -> const std::string& { return entry.first; })) {
    throw InputError(
        fmt::format("{}: two tensors are called \"{}\" in PyTorch's layout; save the state dict of one network", file,
                    printable(*name)));
  }
  weights.parameters = Parameters(std::move(entries));
}

}  // namespace afterimage
