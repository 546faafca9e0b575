// Tensors as the pickle of a PyTorch file describes them, checked against their storages.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "models/formats/pickle.h"
#include "models/formats/pytorch_archive.h"
#include "models/foundations/array.h"

namespace afterimage {

struct NamedView {
  std::string name;
  StorageView view;
};

// A tensor of a kind that is not read: what it is, e.g. "complex64".
struct UnreadTensor {
  std::string what;
  bool quantized = false;
};

class PytorchTensors {
 public:
  using Index = PickleValue::Index;
  // Both have to outlive this.
  PytorchTensors(const Pickle& pickle, const std::string& file) : pickle_(pickle), file_(file) {}

  // Whether a value is what PyTorch makes a tensor or a parameter of.
  bool is_tensor(Index index) const;
  bool is_quantized(Index index) const;
  // Throws InputError, naming the tensor: a description that PyTorch does not write, or that its storage does not hold.
  std::variant<StorageView, UnreadTensor> view(Index index, const std::string& name) const;

 private:
  // Function and arguments of a tensor, without what is around it: parameters, attributes, classes of tensors.
  struct Call {
    std::string_view function;
    const std::vector<Index>* arguments = nullptr;
  };
  Call unwrapped(Index index, const std::string& name) const;
  StorageView strided(const std::vector<Index>& arguments, StorageView view, const std::string& name) const;
  [[noreturn]] void refuse(const std::string& name, const std::string& what) const;
  const std::vector<Index>& arguments_of(Index call) const { return pickle_[pickle_[call].items[0]].items; }
  std::int64_t size(Index index, const std::string& name) const;
  std::vector<std::int64_t> sizes(Index index, const std::string& name) const;
  // ('storage', torch.FloatStorage, '0', 'cpu', elements), which it returns.
  const std::vector<Index>& storage(Index index, const std::string& name) const;

  const Pickle& pickle_;
  const std::string& file_;
};

// Throws InputError where there are too many.
void add_view(std::vector<NamedView>& views, NamedView view, const std::string& file);

// The arrays of these views; reads each storage once, whatever shares it. Throws InputError where tensors repeat their
// storages to more than four times the file and 32 MiB, or describe one differently.
NamedArrays load_views(const PytorchArchive& archive, const std::vector<NamedView>& views);

}  // namespace afterimage
