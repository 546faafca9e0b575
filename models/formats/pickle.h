// Python pickles as torch.save writes them, read into a tree of values. Nothing is ever called or imported.
//
// A pickle is a program: it may name any Python function and call it. This reader knows the names that a state dict
// needs. What a pickle makes of any other name, as of a class of the user's own beside the weights, becomes a value of
// kind `foreign`, which keeps that name alone. Names by which Python would run programs or code, or reach files or the
// network, are refused: such a file is not safe to load elsewhere. Values that the pickle shares are shared here, so
// that memory is in proportion to its length however often it repeats a value.
#pragma once

#include <cstdint>
#include <deque>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace afterimage {

enum class PickleKind {
  none,
  boolean,
  integer,
  large_integer,  // beyond 64 bits: `text` has its bytes, the lowest first
  real,
  text,
  bytes,
  list,        // and sets
  tuple,       // `items`
  dict,        // `items` are key, value, key, value, ... in the order of writing
  global,      // one of the names allowed: `text`, e.g. "torch.FloatStorage"
  call,        // `text` is what would be called, `items` holds the tuple of arguments
  persistent,  // an object outside of the pickle: `items` holds the tuple that says where
  object,      // only in TorchScript: `text` is its class, `items` holds its state, if it has one
  foreign      // a name that is not known, or what is made of it: `text` is that name
};

struct PickleValue {
  using Index = std::uint32_t;
  PickleKind kind = PickleKind::none;
  bool boolean = false;
  union {
    std::int64_t integer = 0;
    double real;
  };
  std::string_view text;
  std::vector<Index> items;
};

// Texts are views of the parsed bytes, which have to outlive this. Values may contain themselves: code that walks them
// has to bound the depth.
struct Pickle {
  using Index = PickleValue::Index;
  std::deque<PickleValue> values;
  std::set<std::string, std::less<>> foreign;  // names of foreign values
  Index root = 0;
  std::size_t length = 0;  // bytes up to the end of the pickle

  const PickleValue& operator[](Index index) const { return values[index]; }
};

enum class PickleNames {
  state_dict,  // OrderedDict, tensors, parameters, storages, torch.Size, torch.device, dtypes
  torchscript  // these, and the classes of the archive itself (__torch__.*) as objects; no others
};

// Protocols 0 to 5. Throws InputError, naming `file`: a name by which code would be run, an opcode that no state dict
// has, a pickle that ends early or is followed by more, over 400,000 values, over 1 MiB of foreign names.
Pickle parse_pickle(std::string_view bytes, const std::string& file, PickleNames names);

// The same of a pickle with other bytes behind it.
Pickle parse_leading_pickle(std::string_view bytes, const std::string& file, PickleNames names);

}  // namespace afterimage
