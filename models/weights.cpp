#include "models/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_map>

#include "models/foundations/error.h"
#include "models/foundations/text.h"
#include "models/rounding.h"

namespace afterimage {
namespace {

bool is_named_weight(const std::string& name) {
  const auto dot = name.find_last_of("./");
  const std::string last = dot == std::string::npos ? name : name.substr(dot + 1);
  return last == "weight" || last == "kernel" || last == "qweight";
}

[[noreturn]] void refuse_weight(const std::string& file, const std::string& name, const std::string& what) {
  throw InputError(fmt::format(
      "{}: tensor \"{}\" is {}, and weights have to be plain floating-point tensors; audit those before quantization, "
      "or save them so",
      file, printable(name), printable(what)));
}

[[noreturn]] void refuse_empty(const std::string& file, const ArrayFile& content) {
  const std::string others = passed_over_text(content.passed_over);
  throw InputError(fmt::format("{}: holds no weights{}", file, others.empty() ? "" : "; " + others));
}

// What has to be taken off names of `from` to make them those of `to`; "" where nothing does. Either all of `from` have
// it and most agree, for a new head has other names; or all of `to` are found behind it, beside others, like weights of
// a loss. Of several of these, as of a teacher and a student, that whose shapes agree; throws InputError, naming
// `file`, where that leaves more than one.
std::string prefix_between(const Parameters& from, const std::string& file, const Parameters& to) {
  constexpr int deepest = 8;
  std::unordered_map<std::string_view, at::IntArrayRef> wanted;
  for (const auto& [name, tensor] : to.entries()) wanted.emplace(name, tensor.sizes());
  // As they are: another copy behind a prefix, like an average, is not what the other file is about.
  const auto agreeing_now = std::count_if(from.entries().begin(), from.entries().end(),
                                          [&](const auto& entry) { return wanted.contains(entry.first); });
  if (static_cast<std::size_t>(agreeing_now) == to.size()) return "";
  std::set<std::string> tried;
  std::vector<std::string> behind, alike;
  for (const auto& [first, tensor] : from.entries()) {
    int depth = 0;
    for (std::size_t dot = first.find('.'); dot != std::string::npos && depth < deepest;
         dot = first.find('.', dot + 1), ++depth) {
      const std::string prefix = first.substr(0, dot + 1);
      if (tried.size() == deepest || !tried.insert(prefix).second) continue;
      std::size_t having = 0, agreeing = 0, of_shape = 0;
      for (const auto& entry : from.entries()) {
        if (!entry.first.starts_with(prefix)) continue;
        ++having;
        const auto found = wanted.find(std::string_view(entry.first).substr(prefix.size()));
        if (found == wanted.end()) continue;
        ++agreeing;
        of_shape += found->second == entry.second.sizes() ? 1 : 0;
      }
      if (having == from.size() && 2 * agreeing > having) return prefix;
      if (agreeing != to.size() || agreeing == 0) continue;
      behind.push_back(prefix);
      if (of_shape == agreeing) alike.push_back(prefix);
    }
  }
  const auto& fitting = alike.empty() ? behind : alike;
  if (fitting.empty()) return "";
  if (fitting.size() > 1) {
    std::vector<std::string> keys;
    for (const auto& prefix : fitting) keys.push_back(printable(prefix.substr(0, prefix.size() - 1)));
    throw InputError(
        fmt::format("{}: holds {} networks with the names of the other file, at {}; choose one, as with --key {}", file,
                    fitting.size(), fmt::join(keys, " and "), keys.front()));
  }
  return fitting.front();
}

// "net." of names that all begin with it; "" where there is no such part.
std::string common_prefix(const Parameters& parameters) {
  if (parameters.size() == 0) return "";
  const std::string& first = parameters.entries().front().first;
  const std::string prefix = first.substr(0, first.find('.') + 1);
  const bool all = std::all_of(parameters.entries().begin(), parameters.entries().end(),
                               [&](const auto& entry) { return entry.first.starts_with(prefix); });
  return all ? prefix : "";
}

void take_off(Weights& weights, const std::string& prefix) {
  std::vector<Parameters::Entry> entries;
  std::vector<PassedOver> others;
  for (const auto& [name, tensor] : weights.parameters.entries()) {
    if (name.starts_with(prefix)) {
      entries.emplace_back(name.substr(prefix.size()), tensor);
    } else {
      others.push_back({name, "not in the other file"});
    }
  }
  weights.parameters = Parameters(std::move(entries));
  weights.notes.push_back(fmt::format("names without their \"{}\", as in the other file", printable(prefix)));
  if (!others.empty()) weights.notes.push_back(passed_over_text(others));
}

}  // namespace

Weights weights_of(WeightFile read, const std::string& file, at::ScalarType widest) {
  ArrayFile& content = read.content;
  if (!content.no_weights.empty()) throw InputError(file + ": " + content.no_weights);
  for (const auto& other : content.passed_over) {
    if (is_named_weight(other.name)) refuse_weight(file, other.name, other.what);
  }
  Weights weights;
  std::vector<Parameters::Entry> entries;
  for (auto& [name, array] : content.arrays) {
    if (!is_floating(array.dtype)) {
      if (array.shape.size() >= 2 && is_named_weight(name)) refuse_weight(file, name, name_of(array.dtype));
      content.passed_over.push_back({name, name_of(array.dtype)});
      continue;
    }
    Tensor tensor = to_tensor(array);
    tensor = tensor.to(tensor.scalar_type() == at::kDouble ? widest : at::kFloat);
    array = {};
    if (!at::isfinite(tensor).all().item<bool>()) {
      throw InputError(fmt::format("{}: tensor \"{}\" holds NaN or infinity; the training that wrote it had diverged",
                                   file, printable(name)));
    }
    entries.emplace_back(name, tensor);
  }
  if (entries.empty()) refuse_empty(file, content);
  weights.parameters = Parameters(std::move(entries));
  weights.notes = std::move(content.notes);
  if (const auto others = passed_over_text(content.passed_over); !others.empty()) weights.notes.push_back(others);
  weights.of_pickle = read.is_pickle;
  if (!read.is_script) to_pytorch_layout(weights, file);
  return weights;
}

Weights read_weights(const std::filesystem::path& path, const std::string& key, at::ScalarType widest) {
  return weights_of(read_weight_file(path, key), path.string(), widest);
}

Checkpoints read_checkpoints(const std::filesystem::path& initial, const std::filesystem::path& trained,
                             const std::string& key, at::ScalarType widest) {
  if (key.empty()) {
    Weights after = read_weights(trained, "", widest);
    return {read_weights(initial, "", widest), std::move(after)};
  }
  const auto at_key = [&](const std::filesystem::path& path) -> std::optional<Weights> {
    try {
      return read_weights(path, key, widest);
    } catch (const UsageError&) {
      return std::nullopt;
    }
  };
  auto before = at_key(initial);
  if (!before) return {read_weights(initial, "", widest), read_weights(trained, key, widest)};
  auto after = at_key(trained);
  return {*std::move(before), after ? *std::move(after) : read_weights(trained, "", widest)};
}

void note_rounding(Weights& weights) {
  if (auto note = rounding_note(weights.parameters); !note.empty()) weights.notes.push_back(std::move(note));
}

Parameters read_parameters(const std::filesystem::path& path, const std::string& key, at::ScalarType widest) {
  return read_weights(path, key, widest).parameters;
}

void agree_on_names(Weights& initial, const std::string& initial_file, Weights& trained,
                    const std::string& trained_file) {
  // Wrapped in both, in modules of two names.
  const std::string before = common_prefix(initial.parameters), after = common_prefix(trained.parameters);
  if (!before.empty() && !after.empty() && before != after &&
      std::any_of(trained.parameters.entries().begin(), trained.parameters.entries().end(), [&](const auto& entry) {
        return initial.parameters.contains(before + entry.first.substr(after.size()));
      })) {
    take_off(initial, before);
    take_off(trained, after);
    return;
  }
  if (const auto prefix = prefix_between(trained.parameters, trained_file, initial.parameters); !prefix.empty()) {
    take_off(trained, prefix);
  } else if (const auto other = prefix_between(initial.parameters, initial_file, trained.parameters); !other.empty()) {
    take_off(initial, other);
  }
}

}  // namespace afterimage
