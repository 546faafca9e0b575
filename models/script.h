// The forward method of a TorchScript module as a function of its parameters, recorded by autograd.
//
// Its graph is inlined, and the tensors of the module that it reads become arguments: parameters can then be set for
// one call without being copied into the module, in float64 as well as in float32. Buffers (the statistics of batch
// normalisation) and everything else in the module stay as in the archive, in inference mode. The graph is interpreted
// without fusion, so that second derivatives exist and two runs agree.
//
// Loading and running an archive runs the code in it. The caller has to make sure that the user allowed that.
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
  // Throws InputError: no such file, not an archive that this LibTorch loads, no forward method, or one that uses parts
  // of the module in an unsupported way.
  explicit Script(const std::filesystem::path& archive);
  ~Script();

  const std::string& file() const { return file_; }
  // As in the archive, float32, by the module's own names. A tensor with two names appears once.
  const Parameters& parameters() const { return parameters_; }
  // Names of buffers, and second names of parameters.
  const std::set<std::string>& other_tensors() const { return others_; }

  // `parameters` like parameters(), in the input's dtype, float32 or float64. With a smoothed ReLU, softplus(beta z) /
  // beta replaces every relu; other activations are unchanged. Throws InputError where the module's code fails.
  Tensor run(const std::vector<Tensor>& parameters, const Tensor& input, Smoothing relu) const;

  // One line that names activations with a kink that are not smoothed, or says that there is no relu; else empty.
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
