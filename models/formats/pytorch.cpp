#include "models/formats/pytorch.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "models/formats/pickle.h"
#include "models/formats/pytorch_archive.h"
#include "models/foundations/error.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

using Index = PickleValue::Index;
using Kind = PickleKind;

constexpr std::size_t most_tensors = 1 << 16, largest_rank = 16, longest_name = 1024, most_names = 16 << 20;
constexpr int deepest_dict = 16, deepest_module = 64;
constexpr std::uint64_t most_repeated = 4, always_allowed = 32 << 20;
constexpr std::string_view rebuild_tensor = "torch._utils._rebuild_tensor_v2";
constexpr std::string_view rebuild_parameter = "torch._utils._rebuild_parameter";

constexpr std::pair<std::string_view, DType> storages[] = {
    {"torch.DoubleStorage", DType::f64},    {"torch.FloatStorage", DType::f32}, {"torch.HalfStorage", DType::f16},
    {"torch.BFloat16Storage", DType::bf16}, {"torch.LongStorage", DType::i64},  {"torch.IntStorage", DType::i32},
    {"torch.ShortStorage", DType::i16},     {"torch.CharStorage", DType::i8},   {"torch.ByteStorage", DType::u8},
    {"torch.BoolStorage", DType::boolean}};

struct NamedView {
  std::string name;
  StorageView view;
};

// Whether the last element of a view lies in its storage; no other lies behind that.
bool fits(const StorageView& view) {
  std::int64_t last = view.offset;
  const bool empty = std::find(view.shape.begin(), view.shape.end(), 0) != view.shape.end();
  for (std::size_t k = 0; k < view.shape.size() && !empty; ++k) {
    std::int64_t reach = 0;
    if (__builtin_mul_overflow(view.shape[k] - 1, view.strides[k], &reach) ||
        __builtin_add_overflow(last, reach, &last)) {
      return false;
    }
  }
  return empty || static_cast<std::uint64_t>(last) < view.storage_elements;
}

// Row-major bytes of a view that fits.
std::vector<std::byte> gathered(const StorageView& view, const std::string& storage) {
  const std::size_t item = size_of(view.dtype), bytes = *checked_bytes(view.shape, view.dtype);
  std::vector<std::byte> to(bytes);
  if (bytes == 0) return to;
  // The trailing dimensions that lie densely are copied as one piece.
  std::size_t dense = view.shape.size();
  std::int64_t piece = 1;
  while (dense > 0 && (view.strides[dense - 1] == piece || view.shape[dense - 1] == 1)) piece *= view.shape[--dense];
  std::vector<std::int64_t> at(dense, 0);
  const std::size_t piece_bytes = static_cast<std::size_t>(piece) * item;
  std::int64_t from = view.offset;
  for (std::size_t done = 0; done < bytes; done += piece_bytes) {
    std::memcpy(to.data() + done, storage.data() + static_cast<std::size_t>(from) * item, piece_bytes);
    for (std::size_t k = dense; k-- > 0;) {
      from += view.strides[k];
      if (++at[k] < view.shape[k]) break;
      from -= view.strides[k] * view.shape[k];
      at[k] = 0;
    }
  }
  return to;
}

// Tensors as the pickle describes them, checked.
class TensorReader {
 public:
  TensorReader(const Pickle& pickle, const std::string& file) : pickle_(pickle), file_(file) {}

  bool is_tensor(Index index) const {
    const PickleValue& value = pickle_[index];
    return value.kind == Kind::call && (value.text == rebuild_tensor || value.text == rebuild_parameter);
  }

  StorageView view(Index index, const std::string& name) const {
    for (int wrapped = 0; pickle_[index].text == rebuild_parameter; ++wrapped) {
      const auto& arguments = arguments_of(index);
      if (arguments.size() < 2 || !is_tensor(arguments[0]) || wrapped == 2) refuse(name, "is a parameter of no tensor");
      index = arguments[0];
    }
    const auto& arguments = arguments_of(index);
    if (arguments.size() < 6 || arguments.size() > 7) refuse(name, "is described by another number of arguments");
    StorageView view = storage(arguments[0], name);
    view.offset = size(arguments[1], name);
    view.shape = sizes(arguments[2], name);
    view.strides = sizes(arguments[3], name);
    if (view.shape.size() != view.strides.size()) refuse(name, "has a stride too few or too many");
    for (std::size_t k = 0; k < view.shape.size(); ++k) {
      if (view.shape[k] == 1) view.strides[k] = 0;  // its stride is never used
    }
    if (!checked_bytes(view.shape, view.dtype) || !fits(view)) {
      refuse(name, fmt::format("reaches past the end of its storage of {} elements", view.storage_elements));
    }
    return view;
  }

 private:
  [[noreturn]] void refuse(const std::string& name, const std::string& what) const {
    throw InputError(fmt::format("{}: tensor \"{}\" {}; {}", file_, printable(name), what, save_remedy));
  }
  const std::vector<Index>& arguments_of(Index call) const { return pickle_[pickle_[call].items[0]].items; }

  std::int64_t size(Index index, const std::string& name) const {
    const PickleValue& value = pickle_[index];
    if (value.kind != Kind::integer || value.integer < 0)
      refuse(name, "has a size, stride or offset that is no whole number from 0 up");
    return value.integer;
  }

  std::vector<std::int64_t> sizes(Index index, const std::string& name) const {
    const PickleValue* value = &pickle_[index];
    if (value->kind == Kind::call && value->text == "torch.Size") {
      const auto& arguments = arguments_of(index);
      if (arguments.size() != 1) refuse(name, "has a torch.Size of other arguments");
      value = &pickle_[arguments[0]];
    }
    if (value->kind != Kind::tuple && value->kind != Kind::list) refuse(name, "has sizes that are not a tuple");
    if (value->items.size() > largest_rank) refuse(name, fmt::format("has more than {} dimensions", largest_rank));
    std::vector<std::int64_t> sizes;
    for (const auto item : value->items) sizes.push_back(size(item, name));
    return sizes;
  }

  // ('storage', torch.FloatStorage, '0', 'cpu', elements)
  StorageView storage(Index index, const std::string& name) const {
    const PickleValue& value = pickle_[index];
    if (value.kind != Kind::persistent) refuse(name, "has no storage");
    const auto& where = pickle_[value.items[0]].items;
    if (where.size() != 5 || pickle_[where[0]].text != "storage" || pickle_[where[1]].kind != Kind::global ||
        pickle_[where[2]].kind != Kind::text || pickle_[where[2]].text.size() > longest_name) {
      refuse(name, "has a storage that is described in another way");
    }
    StorageView view;
    view.storage = pickle_[where[2]].text;
    view.storage_elements = static_cast<std::uint64_t>(size(where[4], name));
    for (const auto& [type, dtype] : storages) {
      if (pickle_[where[1]].text != type) continue;
      view.dtype = dtype;
      return view;
    }
    refuse(name, fmt::format("has a storage of {}", printable(pickle_[where[1]].text)));
  }

  const Pickle& pickle_;
  const std::string& file_;
};

void add(std::vector<NamedView>& views, NamedView view, const std::string& file) {
  if (views.size() == most_tensors) throw InputError(fmt::format("{}: holds more than {} tensors", file, most_tensors));
  views.push_back(std::move(view));
}

// Reads each storage once, whatever shares it.
NamedArrays load(const PytorchArchive& archive, const std::vector<NamedView>& views) {
  const std::string& file = archive.file();
  std::uint64_t total = 0;
  const std::uint64_t most = most_repeated * archive.bytes() + always_allowed;
  std::vector<std::string> order;  // of storages, as they are first used
  std::map<std::string, std::vector<std::size_t>> sharing;
  NamedArrays arrays;
  for (std::size_t i = 0; i < views.size(); ++i) {
    const StorageView& view = views[i].view;
    const auto bytes = *checked_bytes(view.shape, view.dtype);
    total += std::min(bytes, most);
    if (bytes > most || total > most) {
      throw InputError(
          fmt::format("{}: its tensors repeat their storages to more than {} times the file; save clones of "
                      "expanded tensors",
                      file, most_repeated));
    }
    auto& group = sharing[view.storage];
    if (group.empty()) order.push_back(view.storage);
    group.push_back(i);
    const StorageView& first = views[group[0]].view;
    if (first.dtype != view.dtype || first.storage_elements != view.storage_elements) {
      throw InputError(fmt::format("{}: tensors \"{}\" and \"{}\" describe their storage differently; {}", file,
                                   printable(views[group[0]].name), printable(views[i].name), save_remedy));
    }
    arrays.emplace_back(views[i].name, Array{view.dtype, view.shape, {}});
  }
  for (const auto& key : order) {
    const auto& group = sharing[key];
    const std::string storage = archive.storage(views[group[0]].view);
    for (const auto i : group) arrays[i].second.bytes = gathered(views[i].view, storage);
  }
  return arrays;
}

std::string joined(const std::vector<std::string>& names) {
  constexpr std::size_t shown = 6;
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), shown); ++i) {
    text += (i == 0 ? "" : ", ") + printable(names[i].empty() ? "(the whole file)" : names[i]);
  }
  if (names.size() > shown) text += fmt::format(" and {} more", names.size() - shown);
  return text;
}

// Finds the state dict in a checkpoint.
class StateDicts {
 public:
  StateDicts(const Pickle& pickle, const std::string& file) : pickle_(pickle), file_(file), tensors_(pickle, file) {}

  // The dict of tensors at `key`, or the only one below it.
  Index state_dict(const std::string& key, PytorchWeights& weights) {
    const auto start = at(pickle_.root, key);
    if (!start || pickle_[*start].kind != Kind::dict) {
      if (!key.empty()) throw UsageError(fmt::format("--key {}: {} has no dict there", printable(key), file_));
      throw InputError(fmt::format("{}: holds {}, not a state dict; {}", file_,
                                   start && tensors_.is_tensor(*start) ? "a tensor" : "something else", save_remedy));
    }
    search(*start, key, 0);
    auto& found = whole_.empty() ? mixed_ : whole_;
    if (found.empty()) throw InputError(fmt::format("{}: holds no state dict; {}", file_, save_remedy));
    if (found.size() > 1) {
      std::vector<std::string> keys;
      for (const auto& candidate : found) keys.push_back(candidate.key);
      throw InputError(
          fmt::format("{}: holds {} state dicts; choose one with --key: {}", file_, keys.size(), joined(keys)));
    }
    if (!found[0].key.empty()) weights.notes.push_back(fmt::format("state dict at \"{}\"", printable(found[0].key)));
    return found[0].dict;
  }

  std::vector<NamedView> views(Index dict, PytorchWeights& weights) const {
    std::vector<NamedView> views;
    std::vector<std::string> left_out;
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
      if (tensors_.is_tensor(items[i + 1])) {
        add(views, {name, tensors_.view(items[i + 1], name)}, file_);
      } else {
        left_out.push_back(name);
      }
    }
    if (!left_out.empty())
      weights.notes.push_back(fmt::format("left out as they are no tensors: {}", joined(left_out)));
    return views;
  }

 private:
  struct Candidate {
    std::string key;
    Index dict;
  };

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
  TensorReader tensors_;
  std::vector<Candidate> whole_, mixed_;  // dicts of nothing but tensors, and of tensors and other values
  std::set<Index> visited_;
};

// Removes the prefix that DataParallel or torch.compile put before every name.
void strip_prefixes(std::vector<NamedView>& views, PytorchWeights& weights) {
  std::string stripped;
  for (bool again = true; again && !views.empty();) {
    again = false;
    for (const std::string_view prefix : {"module.", "_orig_mod."}) {
      const auto has = [&](const auto& entry) {
        return entry.name.starts_with(prefix) && entry.name.size() > prefix.size();
      };
      if (!std::all_of(views.begin(), views.end(), has)) continue;
      for (auto& entry : views) entry.name.erase(0, prefix.size());
      stripped += prefix;
      again = true;
    }
  }
  if (!stripped.empty()) weights.notes.push_back(fmt::format("names without their \"{}\"", printable(stripped)));
}

// Walks the modules of a TorchScript archive.
class ModuleWalk {
 public:
  ModuleWalk(const Pickle& pickle, const std::string& file) : pickle_(pickle), file_(file), tensors_(pickle, file) {}

  std::vector<NamedView> views() {
    if (pickle_[pickle_.root].kind != Kind::object) {
      throw InputError(file_ +
                       ": is a TorchScript archive whose data.pkl holds no module; save it again with torch.jit.save");
    }
    module(pickle_.root, "", 0);
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
        add(views_, {name, tensors_.view(items[i + 1], name)}, file_);
      } else {
        module(items[i + 1], name + ".", depth + 1);
      }
    }
  }

  const Pickle& pickle_;
  const std::string& file_;
  TensorReader tensors_;
  std::vector<NamedView> views_;
  std::size_t text_ = 0;
};

void require_unique(const std::vector<NamedView>& views, const std::string& file) {
  std::set<std::string_view> seen;
  for (const auto& entry : views) {
    if (!seen.insert(entry.name).second) {
      throw InputError(fmt::format("{}: has the name \"{}\" twice; {}", file, printable(entry.name), save_remedy));
    }
  }
}

}  // namespace

PytorchWeights read_pytorch(const std::filesystem::path& path, const std::string& key) {
  const PytorchArchive archive(path);
  archive.require_plain();
  PytorchWeights weights;
  std::vector<NamedView> views;
  {
    const std::string bytes = archive.pickle();
    const Pickle pickle = parse_pickle(bytes, archive.file(), PickleNames::state_dict);
    StateDicts found(pickle, archive.file());
    views = found.views(found.state_dict(key, weights), weights);
  }
  strip_prefixes(views, weights);
  require_unique(views, archive.file());
  weights.arrays = load(archive, views);
  return weights;
}

bool is_torchscript(const std::filesystem::path& path) { return PytorchArchive(path).torchscript(); }

bool has_pytorch_name(const std::filesystem::path& path) {
  return path.extension() == ".pt" || path.extension() == ".pth";
}

bool has_keys(const std::filesystem::path& path) { return has_pytorch_name(path) && !is_torchscript(path); }

void require_keys(const std::vector<std::filesystem::path>& files, const std::string& key) {
  if (key.empty() || std::any_of(files.begin(), files.end(), has_keys)) return;
  throw UsageError(fmt::format("--key {}: {} is no PyTorch state dict or checkpoint; leave --key out", printable(key),
                               files.back().string()));
}

PytorchWeights read_torchscript_parameters(const std::filesystem::path& path) {
  const PytorchArchive archive(path);
  if (!archive.torchscript())
    throw InputError(archive.file() + ": is not a TorchScript archive; write it with torch.jit.save");
  std::vector<NamedView> views;
  {
    const std::string bytes = archive.pickle();
    const Pickle pickle = parse_pickle(bytes, archive.file(), PickleNames::torchscript);
    views = ModuleWalk(pickle, archive.file()).views();
  }
  require_unique(views, archive.file());
  return {load(archive, views),
          {"TorchScript: only parameters and buffers are read, its code is neither run nor read"}};
}

}  // namespace afterimage
