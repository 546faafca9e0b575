// The forward method of a TorchScript module as a function of its parameters, recorded by autograd.
//
// Its graph is inlined, and what it reads of the module's tensors becomes an argument: parameters can then be set for
// one call without being copied into the module, and in float64 as well as in float32. Buffers (the statistics of batch
// normalisation) and all else that the module holds stay as the archive has them, in inference mode. The graph is
// interpreted as it stands: no fusing, so that two derivatives can be taken and two runs agree.
//
// Loading and running an archive runs code that it holds. Whoever makes a Script has been told that it may.
#pragma once

#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "models/parameters.h"
#include "models/tangent/target.h"

namespace afterimage {

class Script {
 public:
  // Throws InputError: no such file, not an archive that this LibTorch loads, no forward method, or one that uses its
  // parts in a way that cannot be followed.
  explicit Script(const std::filesystem::path& archive);
  ~Script();

  const std::string& file() const { return file_; }
  // As the archive holds them, float32, by the module's own names. A tensor under two names is here once.
  const Parameters& parameters() const { return parameters_; }
  // Names of tensors that are no parameters of their own: buffers, and second names.
  const std::set<std::string>& other_tensors() const { return others_; }

  // `parameters` like parameters(), of the input's dtype, float32 or float64. With a smoothed ReLU, softplus(beta z) /
  // beta stands in place of every relu; other activations stay. Throws InputError where the module's code fails.
  Tensor run(const std::vector<Tensor>& parameters, const Tensor& input, Smoothing relu) const;

  // One line on activations with a kink that are not smoothed, or that there is no relu; empty otherwise.
  const std::string& unsmoothed() const { return unsmoothed_; }

 private:
  struct Program;
  const Program& program(at::ScalarType dtype, Smoothing relu) const;

  std::string file_;
  Parameters parameters_;
  std::set<std::string> others_;
  std::string unsmoothed_;
  std::vector<std::unique_ptr<Program>> programs_;  // float32 and float64, each with the ReLU itself and smoothed
};

}  // namespace afterimage
