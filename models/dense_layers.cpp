#include "models/dense_layers.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>

namespace afterimage {
namespace {

constexpr std::string_view weight_suffix = ".weight", bias_suffix = ".bias";

struct Layer {
  std::string prefix;
  std::int64_t in = 0, out = 0;
};

// Whether a sorts before b, with the numbers in them compared by value.
bool in_natural_order(std::string_view a, std::string_view b) {
  const auto digit = [](char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; };
  while (!a.empty() && !b.empty()) {
    if (!digit(a.front()) || !digit(b.front())) {
      if (a.front() != b.front()) return a.front() < b.front();
      a.remove_prefix(1);
      b.remove_prefix(1);
      continue;
    }
    const auto number = [&](std::string_view& text) {
      const auto end = std::find_if_not(text.begin(), text.end(), digit) - text.begin();
      std::string_view value = text.substr(0, static_cast<std::size_t>(end));
      text.remove_prefix(static_cast<std::size_t>(end));
      while (value.size() > 1 && value.front() == '0') value.remove_prefix(1);
      return value;
    };
    const std::string_view first = number(a), second = number(b);
    if (first != second) return first.size() != second.size() ? first.size() < second.size() : first < second;
  }
  return a.size() < b.size();
}

bool chain(const std::vector<Layer>& layers) {
  return std::adjacent_find(layers.begin(), layers.end(), [](const Layer& below, const Layer& above) {
           return below.out != above.in;
         }) == layers.end();
}

}  // namespace

std::string DenseLayers::architecture() const {
  return fmt::format("mlp:{}", fmt::join(sizes.begin() + 1, sizes.end() - 1, ","));
}

std::optional<DenseLayers> dense_layers(const Parameters& parameters) {
  std::vector<Layer> layers;
  std::size_t biases = 0;
  for (const auto& [name, tensor] : parameters.entries()) {
    if (name.ends_with(bias_suffix) && tensor.dim() == 1) {
      ++biases;
      continue;
    }
    if (!name.ends_with(weight_suffix) || tensor.dim() != 2) return std::nullopt;
    layers.push_back({name.substr(0, name.size() - weight_suffix.size()), tensor.size(1), tensor.size(0)});
  }
  if (layers.size() < 2) return std::nullopt;
  if (!chain(layers)) {
    std::stable_sort(layers.begin(), layers.end(),
                     [](const Layer& a, const Layer& b) { return in_natural_order(a.prefix, b.prefix); });
    if (!chain(layers)) return std::nullopt;
  }
  DenseLayers found;
  found.sizes.push_back(layers.front().in);
  for (const auto& layer : layers) {
    const std::string bias = layer.prefix + std::string(bias_suffix);
    const bool has_bias = parameters.contains(bias);
    if (has_bias && parameters.at(bias).size(0) != layer.out) return std::nullopt;
    biases -= has_bias ? 1 : 0;
    found.weights.push_back(layer.prefix + std::string(weight_suffix));
    found.biases.push_back(has_bias ? bias : "");
    found.sizes.push_back(layer.out);
  }
  if (biases != 0) return std::nullopt;  // a bias without a weight
  return found;
}

}  // namespace afterimage
