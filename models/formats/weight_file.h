// Files of weights, told apart by what they hold and not by their names.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "models/foundations/array.h"
#include "models/foundations/files.h"

namespace afterimage {

struct WeightFile {
  std::string kind;        // as `inspect` prints it, e.g. "PyTorch state dict"
  ArrayFile content;       // as the file has it: names, dtypes and layouts are those of the program that wrote it
  bool is_script = false;  // names are those of a TorchScript module
  bool is_pickle = false;  // of state dicts: names and layouts are those of PyTorch
  std::vector<std::string> metadata = {};  // "name: text" each, of safetensors; printable
};

// Reads a state dict or checkpoint of PyTorch (.pt, .pth, .ckpt, .bin or under any other name), a TorchScript archive,
// safetensors, the index of sharded safetensors or a folder that holds one, or a NumPy archive. `key` as in
// read_pytorch(); in files that are not PyTorch's it is what names begin with. Throws InputError: formats that are not
// read, with what to export instead; files that are malformed or unsafe. Throws UsageError when nothing is at `key`.
WeightFile read_weight_file(const std::filesystem::path& path, const std::string& key = "");

// That of the file or folder; of an index, that of the list of it and all files that it names, as of a folder.
FileDigest digest_of_weights(const std::filesystem::path& path);

// Whether read_weight_file reads `path`, by its content: for files whose kind is not known.
bool is_weight_file(const std::filesystem::path& path);

}  // namespace afterimage
