#include "models/formats/pytorch.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <set>

#include "models/formats/pickle.h"
#include "models/formats/pytorch_archive.h"
#include "models/formats/pytorch_tensors.h"
#include "models/formats/wrapper_names.h"
#include "models/foundations/error.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

using Index = PickleValue::Index;
using Kind = PickleKind;

constexpr std::size_t longest_name = 1024, most_names = 16 << 20;
constexpr int deepest_dict = 16, deepest_module = 64;

std::string joined(const std::vector<std::string>& names) {
  constexpr std::size_t shown = 6;
  std::vector<std::string> texts;
  for (const auto& name : names) texts.push_back(printable(name.empty() ? "(the whole file)" : name));
  return listed(texts, shown);
}

std::string quantized_text(const std::string& name) {
  return fmt::format(
      "tensor \"{}\" is quantized; audit the weights before quantization, or save them with tensor.dequantize()",
      printable(name));
}

// Finds the state dict in a checkpoint.
class StateDicts {
 public:
  StateDicts(const Pickle& pickle, const std::string& file) : pickle_(pickle), file_(file), tensors_(pickle, file) {}

  // A dict of tensors, and what the names of the wanted ones begin with.
  struct Chosen {
    Index dict;
    std::string prefix;
  };

  // The dict of tensors at `key`, or the only one below it; or the part of one whose names begin with `key` and a dot.
  Chosen state_dict(const std::string& key, ArrayFile& content) {
    const auto start = at(pickle_.root, key);
    if (!start || pickle_[*start].kind != Kind::dict) {
      if (key.empty()) refuse_root(start);
      if (auto part = part_at(key)) return *part;
      throw UsageError(
          fmt::format("--key {}: {} has no dict there, and no names that begin so", printable(key), file_));
    }
    search(*start, key, 0);
    auto& found = whole_.empty() ? mixed_ : whole_;
    if (found.empty()) refuse_without_tensors();
    // A dict of single numbers, as of a callback's best score, is no state dict where there is another.
    if (found.size() > 1) {
      const auto end = std::remove_if(found.begin(), found.end(), [&](const auto& one) { return is_scalar(one.dict); });
      if (end != found.begin()) found.erase(end, found.end());
    }
    if (found.size() > 1) {
      std::vector<std::string> keys;
      for (const auto& candidate : found) keys.push_back(candidate.key);
      throw InputError(
          fmt::format("{}: holds {} state dicts; choose one with --key: {}", file_, keys.size(), joined(keys)));
    }
    if (!found[0].key.empty()) content.notes.push_back(fmt::format("state dict at \"{}\"", printable(found[0].key)));
    return {found[0].dict, ""};
  }

  // Of a dict: its tensors; `content` gets what is passed over.
  std::vector<NamedView> views(Index dict, ArrayFile& content) const {
    std::vector<NamedView> views;
    std::set<std::string_view> seen;
    const auto& items = pickle_[dict].items;
    std::size_t text = 0;
    for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
      const PickleValue& key = pickle_[items[i]];
      if (key.kind != Kind::text) continue;
      if (!seen.insert(key.text).second) {
        throw InputError(fmt::format("{}: has the name \"{}\" twice; {}", file_, printable(key.text), save_remedy));
      }
      text += key.text.size();
      if (key.text.size() > longest_name || text > most_names) {
        throw InputError(fmt::format("{}: has a name of more than {} bytes; {}", file_, longest_name, save_remedy));
      }
      const std::string name(key.text);
      if (!tensors_.is_tensor(items[i + 1])) {
        content.passed_over.push_back({name, kind_of(items[i + 1])});
        if (holds_quantized(items[i + 1]) && content.no_weights.empty()) content.no_weights = quantized_text(name);
        continue;
      }
      auto tensor = tensors_.view(items[i + 1], name);
      if (auto* view = std::get_if<StorageView>(&tensor)) {
        add_view(views, {name, std::move(*view)}, file_);
        continue;
      }
      const auto& unread = std::get<UnreadTensor>(tensor);
      content.passed_over.push_back({name, unread.what});
      if (unread.quantized && content.no_weights.empty()) content.no_weights = quantized_text(name);
    }
    return views;
  }

 private:
  struct Candidate {
    std::string key;
    Index dict;
  };

  std::string foreign_text() const {
    const auto& names = pickle_.foreign;
    if (names.empty()) return "";
    return fmt::format("its pickle names {}, which no state dict needs and which is not run",
                       printable(*names.begin()));
  }
  [[noreturn]] void refuse_root(std::optional<Index> root) const {
    if (root && pickle_[*root].kind == Kind::foreign) {
      throw InputError(fmt::format(
          "{}: holds an object of {}, not a state dict, which no state dict needs and which is not built; save "
          "model.state_dict() alone",
          file_, printable(pickle_[*root].text)));
    }
    throw InputError(fmt::format("{}: holds {}, not a state dict; {}", file_,
                                 root && tensors_.is_tensor(*root) ? "a tensor" : "something else", save_remedy));
  }
  [[noreturn]] void refuse_without_tensors() const {
    for (Index i = 0; i < pickle_.values.size(); ++i) {
      if (tensors_.is_quantized(i)) throw InputError(fmt::format("{}: {}", file_, quantized_text("weight")));
    }
    throw InputError(fmt::format("{}: holds no state dict{}; {}", file_,
                                 pickle_.foreign.empty() ? "" : ": " + foreign_text(), save_remedy));
  }

  // What a value is that is no tensor.
  std::string kind_of(Index index) const {
    const PickleValue& value = pickle_[index];
    switch (value.kind) {
      case Kind::foreign:
      case Kind::call:
      case Kind::global:
        return printable(value.text);
      case Kind::text:
        return "text";
      case Kind::dict:
        return "a dict";
      case Kind::list:
      case Kind::tuple:
        return "a list";
      case Kind::none:
        return "nothing";
      case Kind::boolean:
      case Kind::integer:
      case Kind::large_integer:
      case Kind::real:
        return "a number";
      default:
        return "no tensor";
    }
  }
  // Whether all tensors in a dict are single numbers.
  bool is_scalar(Index dict) const {
    const auto& items = pickle_[dict].items;
    for (std::size_t i = 1; i < items.size(); i += 2) {
      if (!tensors_.is_tensor(items[i])) continue;
      const auto tensor = tensors_.view(items[i], "");
      const auto* view = std::get_if<StorageView>(&tensor);
      if (view == nullptr || !view->shape.empty()) return false;
    }
    return true;
  }
  // As the packed parameters of a quantized layer do.
  bool holds_quantized(Index index) const {
    const PickleValue& value = pickle_[index];
    return (value.kind == Kind::tuple || value.kind == Kind::list) &&
           std::any_of(value.items.begin(), value.items.end(), [&](Index i) { return tensors_.is_quantized(i); });
  }

  bool has_names_below(Index dict, std::string_view prefix) const {
    const auto& items = pickle_[dict].items;
    for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
      const PickleValue& name = pickle_[items[i]];
      const bool below = name.kind == Kind::text && name.text.size() > prefix.size() && name.text.starts_with(prefix);
      if (below && tensors_.is_tensor(items[i + 1])) return true;
    }
    return false;
  }

  // The part of a state dict whose names begin with `key`, with or without the way to the dict, as where a module holds
  // a teacher and a student.
  std::optional<Chosen> part_at(const std::string& key) {
    if (pickle_[pickle_.root].kind != Kind::dict) return std::nullopt;
    search(pickle_.root, "", 0);
    std::vector<Chosen> parts;
    std::vector<std::string> keys;
    for (const auto* candidates : {&whole_, &mixed_}) {
      for (const auto& [path, dict] : *candidates) {
        const std::string above = path.empty() ? "" : path + ".";
        if (key.starts_with(above) && has_names_below(dict, key.substr(above.size()) + ".")) {
          return Chosen{dict, key.substr(above.size()) + "."};
        }
        if (!has_names_below(dict, key + ".")) continue;
        parts.push_back({dict, key + "."});
        keys.push_back(above + key);
      }
    }
    if (parts.empty()) return std::nullopt;
    if (parts.size() > 1) {
      throw InputError(fmt::format("{}: {} state dicts have names that begin with \"{}.\"; choose one with --key: {}",
                                   file_, parts.size(), printable(key), joined(keys)));
    }
    return parts.front();
  }

  // The value at a path of names joined by dots; a name may have dots of its own.
  std::optional<Index> at(Index from, std::string_view key, int depth = 0) const {
    if (key.empty()) return from;
    if (pickle_[from].kind != Kind::dict || depth > deepest_dict) return std::nullopt;
    const auto& items = pickle_[from].items;
    for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
      const PickleValue& name = pickle_[items[i]];
      if (name.kind != Kind::text || name.text.empty() || !key.starts_with(name.text)) continue;
      if (key.size() == name.text.size()) return items[i + 1];
      if (key[name.text.size()] != '.') continue;
      if (const auto found = at(items[i + 1], key.substr(name.text.size() + 1), depth + 1)) return found;
    }
    return std::nullopt;
  }

  void search(Index dict, const std::string& path, int depth) {
    if (!visited_.insert(dict).second || depth > deepest_dict || path.size() > longest_name) return;
    const auto& items = pickle_[dict].items;
    bool any = false, whole = true;
    for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
      const PickleValue &key = pickle_[items[i]], &value = pickle_[items[i + 1]];
      const bool tensor = tensors_.is_tensor(items[i + 1]);
      any = any || (tensor && key.kind == Kind::text);
      whole =
          whole && key.kind == Kind::text && (tensor || value.kind == Kind::none || key.text.ends_with("_extra_state"));
    }
    if (any) (whole ? whole_ : mixed_).push_back({path, dict});
    if (any && whole) return;
    for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
      const PickleValue& key = pickle_[items[i]];
      if (key.kind != Kind::text || pickle_[items[i + 1]].kind != Kind::dict || key.text.size() > longest_name)
        continue;
      search(items[i + 1], path + (path.empty() ? "" : ".") + std::string(key.text), depth + 1);
    }
  }

  const Pickle& pickle_;
  const std::string& file_;
  PytorchTensors tensors_;
  std::vector<Candidate> whole_, mixed_;  // dicts of nothing but tensors, and of tensors and other values
  std::set<Index> visited_;
};

// Walks the modules of a TorchScript archive.
class ModuleWalk {
 public:
  ModuleWalk(const Pickle& pickle, const std::string& file) : pickle_(pickle), file_(file), tensors_(pickle, file) {}

  std::vector<NamedView> views(ArrayFile& content) {
    if (pickle_[pickle_.root].kind != Kind::object) {
      throw InputError(file_ +
                       ": is a TorchScript archive whose data.pkl holds no module; save it again with torch.jit.save");
    }
    module(pickle_.root, "", 0);
    content.passed_over = std::move(passed_over_);
    return std::move(views_);
  }

 private:
  void module(Index object, const std::string& prefix, int depth) {
    const auto& state = pickle_[object].items;
    if (state.empty() || pickle_[state[0]].kind != Kind::dict) return;
    const auto& items = pickle_[state[0]].items;
    std::set<std::string_view> seen;
    for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
      const PickleValue& key = pickle_[items[i]];
      const bool tensor = tensors_.is_tensor(items[i + 1]), inner = pickle_[items[i + 1]].kind == Kind::object;
      if (key.kind != Kind::text || (!tensor && !inner)) continue;
      const std::size_t length = prefix.size() + key.text.size();
      text_ += length;
      if (length > longest_name || text_ > most_names || depth == deepest_module || !seen.insert(key.text).second) {
        throw InputError(
            fmt::format("{}: its modules are nested too deeply, or one has a name twice; save it again with "
                        "torch.jit.save",
                        file_));
      }
      const std::string name = prefix + std::string(key.text);
      if (tensor) {
        auto found = tensors_.view(items[i + 1], name);
        if (auto* view = std::get_if<StorageView>(&found)) {
          add_view(views_, {name, std::move(*view)}, file_);
        } else {
          passed_over_.push_back({name, std::get<UnreadTensor>(found).what});
        }
      } else {
        module(items[i + 1], name + ".", depth + 1);
      }
    }
  }

  const Pickle& pickle_;
  const std::string& file_;
  PytorchTensors tensors_;
  std::vector<NamedView> views_;
  std::vector<PassedOver> passed_over_;
  std::size_t text_ = 0;
};

void require_unique(const std::vector<NamedView>& views, const std::string& file) {
  const auto* name = repeated_name(views, [](const NamedView& entry) -> const std::string& { return entry.name; });
  if (name == nullptr) return;
  throw InputError(fmt::format("{}: has the name \"{}\" twice; {}", file, printable(*name), save_remedy));
}

void note_checksums(ArrayFile& content, const PytorchArchive& archive) {
  if (!archive.has_checksums()) content.notes.emplace_back("the file has no checksums: damage would not be noticed");
}

}  // namespace

ArrayFile read_pytorch(const std::filesystem::path& path, const std::string& key) {
  const PytorchArchive archive(path);
  archive.require_plain();
  ArrayFile content;
  std::vector<NamedView> views;
  std::string prefix;
  {
    const std::string bytes = archive.pickle();
    const Pickle pickle = parse_pickle(bytes, archive.file(), PickleNames::state_dict);
    StateDicts found(pickle, archive.file());
    const auto chosen = found.state_dict(key, content);
    prefix = chosen.prefix;
    views = found.views(chosen.dict, content);
    if (!pickle.foreign.empty()) {
      content.notes.push_back(fmt::format("not built: {}", joined({pickle.foreign.begin(), pickle.foreign.end()})));
    }
  }
  note_checksums(content, archive);
  require_unique(views, archive.file());
  content.arrays = load_views(archive, views);
  if (!prefix.empty()) static_cast<void>(keep_part(content, prefix));
  return content;
}

bool is_torchscript(const std::filesystem::path& path) { return PytorchArchive(path).torchscript(); }

ArrayFile read_torchscript_parameters(const std::filesystem::path& path) {
  const PytorchArchive archive(path);
  if (!archive.torchscript())
    throw InputError(archive.file() + ": is not a TorchScript archive; write it with torch.jit.save");
  ArrayFile content;
  std::vector<NamedView> views;
  {
    const std::string bytes = archive.pickle();
    const Pickle pickle = parse_pickle(bytes, archive.file(), PickleNames::torchscript);
    views = ModuleWalk(pickle, archive.file()).views(content);
  }
  content.notes.emplace_back("TorchScript: only parameters and buffers are read, its code is neither run nor read");
  note_checksums(content, archive);
  require_unique(views, archive.file());
  content.arrays = load_views(archive, views);
  return content;
}

}  // namespace afterimage
