#include "models/formats/pytorch_tensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>

#include "models/foundations/error.h"
#include "models/foundations/text.h"

namespace afterimage {
namespace {

using Kind = PickleKind;

constexpr std::size_t most_tensors = 1 << 16, largest_rank = 16, longest_storage_name = 1024;
constexpr std::string_view rebuild_tensor = "torch._utils._rebuild_tensor_v2",
                           rebuild_untyped = "torch._utils._rebuild_tensor_v3",
                           rebuild_quantized = "torch._utils._rebuild_qtensor",
                           rebuild_parameter = "torch._utils._rebuild_parameter",
                           rebuild_with_attributes = "torch._utils._rebuild_parameter_with_state",
                           rebuild_class = "torch._tensor._rebuild_from_type_v2";

// Storage types of _rebuild_tensor_v2, and the dtypes that _rebuild_tensor_v3 names beside an untyped storage.
constexpr std::pair<std::string_view, DType> storages[] = {
    {"torch.DoubleStorage", DType::f64},    {"torch.FloatStorage", DType::f32}, {"torch.HalfStorage", DType::f16},
    {"torch.BFloat16Storage", DType::bf16}, {"torch.LongStorage", DType::i64},  {"torch.IntStorage", DType::i32},
    {"torch.ShortStorage", DType::i16},     {"torch.CharStorage", DType::i8},   {"torch.ByteStorage", DType::u8},
    {"torch.BoolStorage", DType::boolean}};
constexpr std::pair<std::string_view, const char*> unread_storages[] = {{"torch.ComplexFloatStorage", "complex64"},
                                                                        {"torch.ComplexDoubleStorage", "complex128"}};
constexpr std::pair<std::string_view, DType> untyped[] = {{"torch.uint16", DType::u16},
                                                          {"torch.uint32", DType::u32},
                                                          {"torch.uint64", DType::u64},
                                                          {"torch.float8_e4m3fn", DType::f8_e4m3fn},
                                                          {"torch.float8_e4m3fnuz", DType::f8_e4m3fnuz},
                                                          {"torch.float8_e5m2", DType::f8_e5m2},
                                                          {"torch.float8_e5m2fnuz", DType::f8_e5m2fnuz}};

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

}  // namespace

bool PytorchTensors::is_tensor(Index index) const {
  const PickleValue& value = pickle_[index];
  if (value.kind != Kind::call) return false;
  const auto functions = {rebuild_tensor,    rebuild_untyped,         rebuild_quantized,
                          rebuild_parameter, rebuild_with_attributes, rebuild_class};
  return std::find(functions.begin(), functions.end(), value.text) != functions.end();
}

bool PytorchTensors::is_quantized(Index index) const {
  return pickle_[index].kind == Kind::call && pickle_[index].text == rebuild_quantized;
}

PytorchTensors::Call PytorchTensors::unwrapped(Index index, const std::string& name) const {
  constexpr int deepest = 4;
  for (int wrapped = 0; wrapped < deepest; ++wrapped) {
    const std::string_view function = pickle_[index].text;
    const auto& arguments = arguments_of(index);
    if (function == rebuild_class) {
      // (function, class, its arguments, attributes)
      if (arguments.size() != 4 || pickle_[arguments[2]].kind != Kind::tuple) {
        refuse(name, "is described by another number of arguments");
      }
      const PickleValue& inner = pickle_[arguments[0]];
      if (inner.kind == Kind::global && (inner.text == rebuild_tensor || inner.text == rebuild_untyped)) {
        return {inner.text, &pickle_[arguments[2]].items};
      }
      return {pickle_[arguments[1]].text, nullptr};
    }
    if (function != rebuild_parameter && function != rebuild_with_attributes) return {function, &arguments};
    if (arguments.size() < 2 || !is_tensor(arguments[0])) refuse(name, "is a parameter of no tensor");
    index = arguments[0];
  }
  refuse(name, "is a parameter of parameters");
}

std::variant<StorageView, UnreadTensor> PytorchTensors::view(Index index, const std::string& name) const {
  const auto [function, given] = unwrapped(index, name);
  if (given == nullptr) return UnreadTensor{std::string(function)};
  const auto& arguments = *given;
  const bool typed = function == rebuild_tensor, quantized = function == rebuild_quantized;
  const std::size_t fewest = typed ? 6 : 7, most = typed || quantized ? 7 : 8;
  if (arguments.size() < fewest || arguments.size() > most) {
    refuse(name, "is described by another number of arguments");
  }
  if (typed && arguments.size() == 7 && !pickle_[arguments[6]].items.empty()) {
    return UnreadTensor{"a view that is negated or conjugated"};
  }
  const auto& where = storage(arguments[0], name);
  const std::string_view type = pickle_[where[1]].text;
  if (quantized) return UnreadTensor{fmt::format("quantized, {}", printable(type)), true};
  StorageView view;
  view.storage = pickle_[where[2]].text;
  view.storage_elements = static_cast<std::uint64_t>(size(where[4], name));
  if (!typed) {
    const std::string_view dtype = pickle_[arguments[6]].text;
    for (const auto& [known, as] : untyped) {
      if (dtype != known) continue;
      view.dtype = as;
      const std::uint64_t item = size_of(as);
      if (view.storage_elements % item != 0) refuse(name, "has a storage of another size");
      view.storage_elements /= item;
      return strided(arguments, std::move(view), name);
    }
    return UnreadTensor{printable(dtype)};
  }
  for (const auto& [known, what] : unread_storages) {
    if (type == known) return UnreadTensor{what};
  }
  for (const auto& [known, dtype] : storages) {
    if (type != known) continue;
    view.dtype = dtype;
    return strided(arguments, std::move(view), name);
  }
  refuse(name, fmt::format("has a storage of {}", printable(type)));
}

StorageView PytorchTensors::strided(const std::vector<Index>& arguments, StorageView view,
                                    const std::string& name) const {
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

void PytorchTensors::refuse(const std::string& name, const std::string& what) const {
  throw InputError(fmt::format("{}: tensor \"{}\" {}; {}", file_, printable(name), what, save_remedy));
}

std::int64_t PytorchTensors::size(Index index, const std::string& name) const {
  const PickleValue& value = pickle_[index];
  if (value.kind != Kind::integer || value.integer < 0)
    refuse(name, "has a size, stride or offset that is no whole number from 0 up");
  return value.integer;
}

std::vector<std::int64_t> PytorchTensors::sizes(Index index, const std::string& name) const {
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

const std::vector<PickleValue::Index>& PytorchTensors::storage(Index index, const std::string& name) const {
  const PickleValue& value = pickle_[index];
  if (value.kind != Kind::persistent) refuse(name, "has no storage");
  const auto& where = pickle_[value.items[0]].items;
  if (where.size() != 5 || pickle_[where[0]].text != "storage" || pickle_[where[1]].kind != Kind::global ||
      pickle_[where[2]].kind != Kind::text || pickle_[where[2]].text.size() > longest_storage_name) {
    refuse(name, "has a storage that is described in another way");
  }
  return where;
}

void add_view(std::vector<NamedView>& views, NamedView view, const std::string& file) {
  if (views.size() == most_tensors) throw InputError(fmt::format("{}: holds more than {} tensors", file, most_tensors));
  views.push_back(std::move(view));
}

NamedArrays load_views(const PytorchArchive& archive, const std::vector<NamedView>& views) {
  const std::string& file = archive.file();
  std::uint64_t total = 0;
  const std::uint64_t most = most_shared_bytes(archive.bytes());
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

}  // namespace afterimage
