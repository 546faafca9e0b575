#include "models/weights.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/formats/weight_file.h"
#include "models/foundations/error.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

[[noreturn]] void refuse_empty(const std::string& file, const ArrayFile& content) {
  const std::string others = passed_over_text(content.passed_over);
  throw InputError(fmt::format("{}: holds no weights{}", file, others.empty() ? "" : "; " + others));
}

// What has to be taken off all names of `from` to make them those of `to`; "" where nothing does.
std::string prefix_between(const Parameters& from, const Parameters& to) {
  if (from.size() == 0 || to.size() == 0) return "";
  const std::string& name = from.entries().front().first;
  for (std::size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1)) {
    const std::string prefix = name.substr(0, dot + 1);
    const auto agrees = [&](const auto& entry) {
      return entry.first.starts_with(prefix) && to.contains(entry.first.substr(prefix.size()));
    };
    // A new head has other shapes but the same names, or none in the other file: most have to agree.
    const auto agreeing = static_cast<std::size_t>(std::count_if(from.entries().begin(), from.entries().end(), agrees));
    const bool all_have = std::all_of(from.entries().begin(), from.entries().end(),
                                      [&](const auto& entry) { return entry.first.starts_with(prefix); });
    if (all_have && 2 * agreeing > from.size()) return prefix;
  }
  return "";
}

void take_off(Weights& weights, const std::string& prefix) {
  std::vector<Parameters::Entry> entries = weights.parameters.entries();
  for (auto& entry : entries) entry.first.erase(0, prefix.size());
  weights.parameters = Parameters(std::move(entries));
  weights.notes.push_back(fmt::format("names without their \"{}\", as in the other file", printable(prefix)));
}

}  // namespace

Weights read_weights(const std::filesystem::path& path, const std::string& key, at::ScalarType widest) {
  const std::string file = path.string();
  WeightFile read = read_weight_file(path, key);
  if (!read.content.no_weights.empty()) throw InputError(file + ": " + read.content.no_weights);
  Weights weights;
  std::vector<Parameters::Entry> entries;
  for (auto& [name, array] : read.content.arrays) {
    Tensor tensor = to_tensor(array);
    if (!tensor.is_floating_point()) {
      read.content.passed_over.push_back({name, name_of(array.dtype)});
      continue;
    }
    tensor = tensor.to(tensor.scalar_type() == at::kDouble ? widest : at::kFloat);
    array.bytes.clear();
    if (!at::isfinite(tensor).all().item<bool>()) {
      throw InputError(fmt::format("{}: tensor \"{}\" holds NaN or infinity; the training that wrote it had diverged",
                                   file, printable(name)));
    }
    entries.emplace_back(name, tensor);
  }
  if (entries.empty()) refuse_empty(file, read.content);
  weights.parameters = Parameters(std::move(entries));
  weights.notes = std::move(read.content.notes);
  if (const auto others = passed_over_text(read.content.passed_over); !others.empty()) weights.notes.push_back(others);
  if (!read.is_script) to_pytorch_layout(weights, file);
  return weights;
}

Parameters read_parameters(const std::filesystem::path& path, const std::string& key, at::ScalarType widest) {
  return read_weights(path, key, widest).parameters;
}

void agree_on_names(Weights& initial, Weights& trained) {
  if (const auto prefix = prefix_between(trained.parameters, initial.parameters); !prefix.empty()) {
    take_off(trained, prefix);
  } else if (const auto other = prefix_between(initial.parameters, trained.parameters); !other.empty()) {
    take_off(initial, other);
  }
}

}  // namespace afterimage
