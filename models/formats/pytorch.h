// What torch.save writes since PyTorch 1.6: a zip of a pickle (NAME/data.pkl) and one member per storage
// (NAME/data/0, ...). Read without running anything in it.
//
// Every tensor is checked against its storage, and all of them together against the file: tensors that share bytes may
// take at most four times the file and 32 MiB.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "models/foundations/array.h"

namespace afterimage {

struct PytorchWeights {
  NamedArrays arrays;              // in the order of the file, always row-major and little-endian
  std::vector<std::string> notes;  // which state dict was chosen, which prefixes and entries were left out; printable
};

// The state dict in a file of torch.save(model.state_dict()) or of a checkpoint that holds one. `key` names it where
// there are several, e.g. "model" or "ema.model"; empty takes the only one. Names lose a leading "module." or
// "_orig_mod." that all of them have; entries that are no tensors are left out. Throws InputError: a name in the pickle
// that no state dict needs, none or several state dicts, the format before 1.6,
// TorchScript, a tensor that its storage does not hold. Throws UsageError when nothing is at `key`.
PytorchWeights read_pytorch(const std::filesystem::path& path, const std::string& key = "");

// Whether a file that read_pytorch would open is a TorchScript archive (by its constants.pkl or code/). Throws
// InputError when it is no zip archive.
bool is_torchscript(const std::filesystem::path& path);

// Whether a file's name ends as those that PyTorch writes do: .pt, .pth.
bool has_pytorch_name(const std::filesystem::path& path);
// Whether a file is a state dict or a checkpoint that holds some, by its name and content: only these have keys.
bool has_keys(const std::filesystem::path& path);
// Throws UsageError where a key is given and none of the files has any.
void require_keys(const std::vector<std::filesystem::path>& files, const std::string& key);

// The parameters and buffers of a TorchScript archive, named by the attributes that lead to them ("fc1.weight"). Its
// code is neither run nor read. Throws InputError.
PytorchWeights read_torchscript_parameters(const std::filesystem::path& path);

}  // namespace afterimage
