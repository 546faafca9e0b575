// Weights from files, under the names and in the layout of PyTorch whatever program wrote them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "models/formats/weight_file.h"
#include "models/parameters.h"

namespace afterimage {

struct Weights {
  Parameters parameters;
  std::vector<std::string> notes;  // what was left out or changed on the way; printable
  bool of_pickle = false;          // from a PyTorch file, whose names and layouts are PyTorch's own
};

// Reads any file of read_weight_file(). All become float32, but float64 stays with `widest` float64. Integers and truth
// values, such as batch counts, are left out with a note. Then, but for TorchScript archives, to_pytorch_layout().
// Throws InputError: unsupported or unsafe format, quantized or no weights, NaN or infinity (naming the tensor);
// UsageError when there is no such key.
Weights read_weights(const std::filesystem::path& path, const std::string& key = "",
                     at::ScalarType widest = at::kFloat);
// Two checkpoints of one network. A key has to be in one of them: the base model is often a plain state dict, and the
// tuned one a checkpoint; the other is then read whole.
struct Checkpoints {
  Weights initial, trained;
};
Checkpoints read_checkpoints(const std::filesystem::path& initial, const std::filesystem::path& trained,
                             const std::string& key, at::ScalarType widest);
// Of a file that is read already; `file` is its name for messages.
Weights weights_of(WeightFile read, const std::string& file, at::ScalarType widest = at::kFloat);
Parameters read_parameters(const std::filesystem::path& path, const std::string& key = "",
                           at::ScalarType widest = at::kFloat);

// Adds rounding_note() of its parameters to the notes, where there is one.
void note_rounding(Weights& weights);

// Brings names and layouts to those of a plain PyTorch module, with a note for each kind of change:
// - "/" in names becomes ".", and kernels [in, out] or [h, w, in, out] of Keras and Flax become weights [out, in] or
//   [out, in, h, w];
// - arrays arr_0, arr_1, ... that can only be weights and biases of dense layers in turn are named so;
// - weight normalisation, g v / |v| with the norm over the dimensions that g lacks, and spectral normalisation,
//   W / (u^T W v) as in evaluation mode, are carried out.
// Throws InputError, naming `file`, where two tensors get one name, or shapes do not fit.
void to_pytorch_layout(Weights& weights, const std::string& file);

// Takes a prefix off the names of one file where that makes them the names of the other, as where one checkpoint was
// saved from inside a wrapper ("net.", "model."). Notes it, and what had no such prefix and is left out. Throws
// InputError, naming the file, where several networks in it fit, as a teacher and a student.
void agree_on_names(Weights& initial, const std::string& initial_file, Weights& trained,
                    const std::string& trained_file);

}  // namespace afterimage
