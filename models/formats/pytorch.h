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

// The state dict in a file of torch.save(model.state_dict()) or of a checkpoint that holds one, in the order of the
// file. `key` names it where there are several, e.g. "model" or "ema.model"; or a part of one, by what its names begin
// with ("teacher"), which is taken off; empty takes the only one. What is no tensor, or of a kind that is not read
// (complex, quantized), is passed over; notes name classes that the file would build. Throws InputError: a name in the
// pickle by which code would be run, none or several state dicts, the format before 1.6, TorchScript, a tensor that its
// storage does not hold. Throws UsageError when nothing is at `key`.
ArrayFile read_pytorch(const std::filesystem::path& path, const std::string& key = "");

// Whether a file that read_pytorch would open is a TorchScript archive (by its constants.pkl or code/). Throws
// InputError when it is no zip archive.
bool is_torchscript(const std::filesystem::path& path);

// The parameters and buffers of a TorchScript archive, named by the attributes that lead to them ("fc1.weight"). Its
// code is neither run nor read. Throws InputError.
ArrayFile read_torchscript_parameters(const std::filesystem::path& path);

}  // namespace afterimage
