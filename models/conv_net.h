// The ConvNet of the distillation literature (Gidaris & Komodakis, CVPR 2018, arXiv 1804.09458), as RCIG uses it (Loo
// et al. 2023, arXiv 2302.06755): blocks of 3x3 convolution, ReLU and 2x2 average pooling, then one dense layer.
// Through autograd.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/recorded_network.h"

namespace afterimage {

// Parameters: "conv1.weight" [c_1, c, 3, 3], "conv1.bias" [c_1], "conv2.weight" [c_2, c_1, 3, 3], ...; "fc.weight"
// [C, F], "fc.bias" [C], with F the numbers that the last block leaves, channels first. Weights start from
// N(0, 1 / inputs of a unit), biases at zero. Pictures are padded with zeros all around to sides that all poolings
// divide.
class ConvNet final : public RecordedNetwork {
 public:
  // `shape` is [h, w] or [h, w, c], `channels` those of each block. Throws UsageError on another shape, more than 6
  // blocks, more than 4096 channels and more than 2^24 weights in a layer.
  ConvNet(Signature signature, const std::vector<std::int64_t>& shape, std::vector<std::int64_t> channels);

  std::optional<Parameters> draw_initial(Generator& random) const override;
  Parameters arranged(const Parameters& parameters, const std::string& file) const override;
  Recorded recorded() const override;

 private:
  struct Picture {
    std::int64_t height = 0, width = 0, colours = 0;
    std::int64_t padded_height = 0, padded_width = 0;
  };

  NamedShapes shapes() const;

  Picture picture_;
  std::vector<std::int64_t> channels_;  // into the first block and out of each
  std::int64_t features_ = 0;           // F
};

inline constexpr const char* conv_net_family = "convnet:";
// The network of an architecture "convnet:CHANNELS,CHANNELS,...". Throws UsageError.
std::unique_ptr<Network> make_conv_net(const std::string& architecture, const std::vector<std::int64_t>& shape,
                                       std::int64_t outputs);

}  // namespace afterimage
