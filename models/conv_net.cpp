#include "models/conv_net.h"

#include <c10/util/accumulate.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <string_view>
#include <utility>

#include "models/foundations/error.h"
#include "models/foundations/text.h"
#include "models/mlp.h"

namespace afterimage {
namespace {

// So that an architecture in a file takes little time and memory before its weights are read.
constexpr std::size_t most_blocks = 6;
constexpr std::int64_t most_channels = 4096, most_layer_weights = 1 << 24;
constexpr std::int64_t kernel_side = 3, pooling_side = 2;
constexpr double most_kept = 1 << 26;         // activations of all blocks, of one picture
constexpr double kept_of_channel_pixel = 64;  // bytes that autograd keeps for a pixel of a block's output

}  // namespace

ConvNet::ConvNet(Signature signature, const std::vector<std::int64_t>& shape, std::vector<std::int64_t> channels)
    : RecordedNetwork(std::move(signature)), channels_(std::move(channels)) {
  const auto refuse = [&](const std::string& what) {
    throw UsageError(fmt::format("architecture \"{}\": {}", printable(architecture()), what));
  };
  if (shape.size() < 2 || shape.size() > 3) {
    refuse(fmt::format("reads pictures, and inputs of shape [{}] are none", fmt::join(shape, ", ")));
  }
  if (channels_.size() > most_blocks) refuse(fmt::format("has more than {} blocks; give fewer", most_blocks));
  picture_ = {shape[0], shape[1], shape.size() == 3 ? shape[2] : 1, 0, 0};
  const std::int64_t divisor = std::int64_t{1} << channels_.size();
  const auto padded = [&](std::int64_t side) { return (side + divisor - 1) / divisor * divisor; };
  picture_.padded_height = padded(picture_.height);
  picture_.padded_width = padded(picture_.width);
  channels_.insert(channels_.begin(), picture_.colours);
  const std::int64_t pixels = picture_.padded_height * picture_.padded_width;
  features_ = channels_.back() * (pixels / (divisor * divisor));
  double kept = 0;
  for (std::size_t block = 1; block < channels_.size(); ++block) {
    const auto width = channels_[block];
    if (width > most_channels) refuse(fmt::format("has a block of more than {} channels", most_channels));
    if (width * channels_[block - 1] * kernel_side * kernel_side > most_layer_weights) {
      refuse(fmt::format("has more than {} weights in a layer; give fewer channels", most_layer_weights));
    }
    kept += static_cast<double>(width * (pixels >> (2 * (block - 1))));
  }
  if (kept > most_kept) refuse("gives too many numbers for pictures of this size; give fewer channels");
  if (features_ > most_layer_weights / outputs()) {
    refuse(fmt::format("has more than {} weights in its last layer; give fewer channels", most_layer_weights));
  }
  set_chunk(kept_of_channel_pixel * kept);
}

NamedShapes ConvNet::shapes() const {
  NamedShapes shapes;
  for (std::size_t block = 1; block < channels_.size(); ++block) {
    const std::string name = fmt::format("conv{}.", block);
    shapes.push_back({name + "weight", {channels_[block], channels_[block - 1], kernel_side, kernel_side}});
    shapes.push_back({name + "bias", {channels_[block]}});
  }
  shapes.push_back({"fc.weight", {outputs(), features_}});
  shapes.push_back({"fc.bias", {outputs()}});
  return shapes;
}

std::optional<Parameters> ConvNet::draw_initial(Generator& random) const {
  std::vector<Parameters::Entry> entries;
  for (const auto& [name, shape] : shapes()) {
    if (shape.size() == 1) {
      entries.emplace_back(name, at::zeros(shape));
    } else {
      const std::int64_t inputs_of_unit = c10::multiply_integers(shape) / shape[0];
      const double size = std::sqrt(static_cast<double>(inputs_of_unit));
      entries.emplace_back(name, at::randn(shape, random, at::kFloat).div_(size));
    }
  }
  return Parameters(std::move(entries));
}

Parameters ConvNet::arranged(const Parameters& parameters, const std::string& file) const {
  return arranged_as(shapes(), parameters, file, architecture());
}

Recorded ConvNet::recorded() const {
  return [picture = picture_, blocks = channels_.size() - 1](const std::vector<Tensor>& parameters,
                                                             const Tensor& images, Smoothing relu) {
    const std::int64_t rows = picture.padded_height - picture.height, columns = picture.padded_width - picture.width;
    Tensor maps =
        images.reshape({images.size(0), picture.height, picture.width, picture.colours}).permute({0, 3, 1, 2});
    maps = at::constant_pad_nd(maps, {columns / 2, columns - columns / 2, rows / 2, rows - rows / 2});
    for (std::size_t block = 0; block < blocks; ++block) {
      const Tensor z = at::conv2d(maps, parameters[2 * block], parameters[2 * block + 1], 1, kernel_side / 2);
      maps = at::avg_pool2d(activated(z, relu), {pooling_side, pooling_side});
    }
    return at::addmm(parameters[2 * blocks + 1], maps.flatten(1), parameters[2 * blocks].t());
  };
}

std::unique_ptr<Network> make_conv_net(const std::string& architecture, const std::vector<std::int64_t>& shape,
                                       std::int64_t outputs) {
  const auto sizes = std::string_view(architecture).substr(std::string_view(conv_net_family).size());
  return std::make_unique<ConvNet>(Network::Signature{architecture, "standard", c10::multiply_integers(shape), outputs},
                                   shape, parse_widths(architecture, sizes));
}

}  // namespace afterimage
