#include "models/dense_layers.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>

#include "models/foundations/text.h"

namespace afterimage {
namespace {

constexpr std::string_view weight_word = "weight", bias_word = "bias";

// Whether `word` is all of the name, or what follows its last dot.
bool is_a(std::string_view name, std::string_view word) {
  return name == word || (name.ends_with(word) && name[name.size() - word.size() - 1] == '.');
}

struct Layer {
  std::string prefix;  // with its dot
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

// Of other layers than dense ones: their parameters, and the statistics of batch normalisation.
bool is_named_as_parameter(std::string_view name) {
  constexpr std::string_view parts[] = {"weight",   "bias",    "gamma", "beta",  "alpha",    "embedding",
                                        "running_", "moving_", "token", "lora_", "recurrent"};
  return std::any_of(std::begin(parts), std::end(parts),
                     [&](std::string_view part) { return name.find(part) != std::string_view::npos; });
}

bool chain(const std::vector<Layer>& layers) {
  return std::adjacent_find(layers.begin(), layers.end(), [](const Layer& below, const Layer& above) {
           return below.out != above.in;
         }) == layers.end();
}

// The order in which layers form a chain, where there is just one. Layers with the same sizes have two.
class Chains {
 public:
  explicit Chains(const std::vector<Layer>& layers) : layers_(layers), used_(layers.size(), false) { extend(); }
  bool unique() const { return found_.size() == 1 && tried_ <= most_tried; }
  const std::vector<Layer>& only() const { return found_.front(); }

 private:
  void extend() {
    if (++tried_ > most_tried || found_.size() > 1) return;
    if (order_.size() == layers_.size()) {
      found_.push_back(order_);
      return;
    }
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      if (used_[i] || (!order_.empty() && order_.back().out != layers_[i].in)) continue;
      used_[i] = true;
      order_.push_back(layers_[i]);
      extend();
      order_.pop_back();
      used_[i] = false;
    }
  }

  static constexpr int most_tried = 10'000;
  const std::vector<Layer>& layers_;
  std::vector<bool> used_;
  std::vector<Layer> order_;
  std::vector<std::vector<Layer>> found_;
  int tried_ = 0;
};

// Whether there is an order in which the layers form a chain: that of the file; or of the names, where that of the file
// is alphabetical and so says nothing (safetensors: "layers.10" before "layers.2"), or forms none; or the only one.
bool put_in_order(std::vector<Layer>& layers) {
  const bool alphabetical =
      std::is_sorted(layers.begin(), layers.end(), [](const Layer& a, const Layer& b) { return a.prefix < b.prefix; });
  if (!alphabetical && chain(layers)) return true;
  std::vector<Layer> by_name = layers;
  std::stable_sort(by_name.begin(), by_name.end(),
                   [](const Layer& a, const Layer& b) { return in_natural_order(a.prefix, b.prefix); });
  if (chain(by_name)) {
    layers = std::move(by_name);
    return true;
  }
  if (chain(layers)) return true;
  const Chains chains(layers);
  if (!chains.unique()) return false;
  layers = chains.only();
  return true;
}

}  // namespace

std::string DenseLayers::architecture() const {
  if (weights.size() == 1) return "linear";
  return fmt::format("mlp:{}", fmt::join(sizes.begin() + 1, sizes.end() - 1, ","));
}

std::optional<DenseLayers> dense_layers(const Parameters& parameters) {
  std::vector<Layer> layers;
  DenseLayers found;
  std::size_t biases = 0;
  for (const auto& [name, tensor] : parameters.entries()) {
    if (is_a(name, bias_word) && tensor.dim() == 1) {
      ++biases;
      continue;
    }
    if (!is_a(name, weight_word) || tensor.dim() != 2) {
      if (is_named_as_parameter(name)) return std::nullopt;
      found.beside.push_back(name);
      continue;
    }
    layers.push_back({name.substr(0, name.size() - weight_word.size()), tensor.size(1), tensor.size(0)});
  }
  if (layers.empty()) return std::nullopt;
  if (!put_in_order(layers)) return std::nullopt;
  found.sizes.push_back(layers.front().in);
  for (const auto& layer : layers) {
    const std::string bias = layer.prefix + std::string(bias_word);
    const bool has_bias = parameters.contains(bias);
    if (has_bias && parameters.at(bias).size(0) != layer.out) return std::nullopt;
    biases -= has_bias ? 1 : 0;
    found.weights.push_back(layer.prefix + std::string(weight_word));
    found.biases.push_back(has_bias ? bias : "");
    found.sizes.push_back(layer.out);
  }
  if (biases != 0) return std::nullopt;  // a bias without a weight
  // One number for each neuron is a part of the network, as of a normalisation between layers.
  for (const auto& name : found.beside) {
    const std::int64_t numbers = parameters.at(name).numel();
    const auto widths_end = found.sizes.end() - 1;
    if (numbers > 1 && std::find(found.sizes.begin() + 1, widths_end, numbers) != widths_end) return std::nullopt;
  }
  return found;
}

std::string why_not_dense(const Parameters& parameters) {
  if (dense_layers(parameters)) return "";
  constexpr const char* remedy = "export the network as TorchScript and name that in model.json";
  for (const auto& [name, tensor] : parameters.entries()) {
    const bool dense = (is_a(name, weight_word) && tensor.dim() == 2) || (is_a(name, bias_word) && tensor.dim() == 1);
    if (dense || !is_named_as_parameter(name)) continue;
    const bool statistics = name.find("running_") != std::string::npos || name.find("moving_") != std::string::npos;
    return fmt::format("\"{}\" [{}] is no weight or bias of a fully connected layer{}; {}", printable(name),
                       fmt::join(tensor.sizes(), ", "), statistics ? " but of batch normalisation" : "", remedy);
  }
  return fmt::format("its fully connected layers do not follow one another by their sizes; {}", remedy);
}

}  // namespace afterimage
