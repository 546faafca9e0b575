#include "models/conv_net.h"

#include <catch2/catch.hpp>

#include "models/architectures.h"
#include "models/foundations/error.h"
#include "models/last_layer.h"
#include "models/mlp.h"
#include "tests/defenses/convolution_reference.h"

namespace afterimage {
namespace {

// Colours, and sides that three poolings do not divide.
const std::vector<std::int64_t> shape = {9, 6, 2};
constexpr std::int64_t channels = 2, outputs = 3, dimension = 9 * 6 * 2;
const std::string architecture = "convnet:2,4,8";

Parameters moved_start(const Network& network, Generator& random) {
  Parameters parameters = network.draw_initial(random).value().to(at::kDouble);
  for (const auto& [name, tensor] : parameters.entries()) {
    tensor.add_(at::randn(tensor.sizes(), random, at::kDouble), 0.1);
  }
  return parameters;
}

// As the reference has them: the blocks in turn, then [C, F + 1] with the biases last.
Tensor flat(const Parameters& parameters) {
  std::vector<Tensor> parts;
  for (std::size_t i = 0; i + 2 < parameters.size(); ++i) parts.push_back(parameters[i].flatten());
  parts.push_back(at::cat({parameters.at("fc.weight"), parameters.at("fc.bias").unsqueeze(1)}, 1).flatten());
  return at::cat(parts);
}

// f^2 of another network: it does not end in a dense layer.
class Squared final : public RecordedNetwork {
 public:
  explicit Squared(const ConvNet& inside)
      : RecordedNetwork({"squared", "standard", inside.inputs(), inside.outputs()}), inside_(inside.recorded()) {
    set_chunk(1e6);
  }
  std::optional<Parameters> draw_initial(Generator&) const override { return std::nullopt; }
  Parameters arranged(const Parameters& parameters, const std::string&) const override { return parameters; }
  Recorded recorded() const override {
    return [inside = inside_](const std::vector<Tensor>& parameters, const Tensor& images, Smoothing relu) {
      return inside(parameters, images, relu).square();
    };
  }

 private:
  Recorded inside_;
};

}  // namespace

TEST_CASE("a ConvNet's outputs, smoothed or not, and its features are those of the network that RCIG distils with") {
  Generator random = seeded(1);
  const ConvNet network({architecture, "standard", dimension, outputs}, shape, {2, 4, 8});
  const Parameters parameters = moved_start(network, random);
  const Tensor images = at::randn({4, dimension}, random, at::kDouble);
  std::vector<Tensor> tensors;
  for (const auto& [name, tensor] : parameters.entries()) tensors.push_back(tensor);
  constexpr double beta = 4;
  const reference::Convolutions smooth{9, 6, 2, channels, outputs, beta};
  CHECK(at::allclose(network.recorded()(tensors, images, Smoothing{beta}), smooth.evaluate(flat(parameters), images),
                     1e-12, 1e-12));
  // Softplus this sharp is the ReLU but within 1e-8 of zero.
  const reference::Convolutions sharp{9, 6, 2, channels, outputs, 1e9};
  const Tensor expected = sharp.evaluate(flat(parameters), images);
  CHECK(at::allclose(network.evaluate(parameters, images), expected, 1e-6, 1e-6));

  const auto last = last_layer_of(network, parameters);
  REQUIRE(last);
  CHECK(last->weight == 6);
  CHECK(last->bias == 7);
  const Tensor features = last_layer_features(network, parameters, {last->weight, {}}, images);
  const Tensor body = flat(parameters).narrow(0, 0, smooth.body_size());
  CHECK(at::allclose(features, sharp.features(body, images).narrow(1, 0, features.size(1)), 1e-6, 1e-6));
}

TEST_CASE("embeddings of any network are what goes into its last layer, and none is found where there is none") {
  Generator random = seeded(2);
  const Tensor images = at::randn({5, 12}, random, at::kDouble);
  for (const std::string parameterization : {"standard", "ntk"}) {
    const Mlp mlp(12, {7, 5}, 2, parameterization == "ntk" ? Parameterization::ntk : Parameterization::standard);
    const Parameters parameters = mlp.draw_initial(random).value().to(at::kDouble);
    const auto last = last_layer_of(mlp, parameters);
    REQUIRE(last);
    CHECK(last->weight == 4);
    const Tensor expected = mlp.activations(parameters, images)[2] * mlp.weight_scale(2);
    CHECK(at::allclose(last_layer_features(mlp, parameters, {4, {}}, images), expected));
  }
  for (const std::string family : {"rnn:6", "lstm:6,rank=2", "low-rank-mlp:6,5,rank=2"}) {
    CAPTURE(family);
    const auto network = make_network_for(family, "standard", {4, 3}, 2);
    const Parameters parameters = network->draw_initial(random).value().to(at::kDouble);
    const auto last = last_layer_of(*network, parameters);
    REQUIRE(last);
    CHECK(last->weight == parameters.size() - 2);
    CHECK(last->bias == parameters.size() - 1);
  }
  const Mlp one_layer(12, {}, 2, Parameterization::standard);
  CHECK_FALSE(last_layer_of(one_layer, one_layer.draw_initial(random).value()));
  const ConvNet inside({architecture, "standard", dimension, outputs}, shape, {2, 4, 8});
  CHECK(last_layer_of(inside, moved_start(inside, random)));
  CHECK_FALSE(last_layer_of(Squared(inside), moved_start(inside, random)));
}

TEST_CASE("a ConvNet's tangent products are those of differences, and it takes its weights by name and shape") {
  Generator random = seeded(3);
  const auto network = make_network_for(architecture, "standard", shape, outputs);
  const Parameters parameters = moved_start(*network, random), direction = moved_start(*network, random);
  const Tensor images = at::randn({3, dimension}, random, at::kDouble),
               cotangents = at::randn({3, outputs}, random, at::kDouble);
  const Tensor change = network->pushforward(parameters, direction, images);
  const Tensor moved = network->evaluate(parameters.plus(direction, 1e-6), images) -
                       network->evaluate(parameters.plus(direction, -1e-6), images);
  CHECK(at::allclose(change, moved / 2e-6, 1e-5, 1e-6));
  const Parameters gradient = network->pullback(parameters, images, [&](const Tensor&) { return cotangents; });
  CHECK(gradient.inner(direction) == Approx((change * cotangents).sum().item<double>()));

  auto entries = parameters.entries();
  std::reverse(entries.begin(), entries.end());
  CHECK(network->arranged(Parameters(entries), "weights").entries().front().first == "conv1.weight");
  entries.pop_back();
  CHECK_THROWS_WITH(network->arranged(Parameters(entries), "weights"), Catch::Contains("\"conv1.weight\""));
  CHECK_THROWS_AS(network->arranged(Parameters(entries), "weights"), InputError);
}

TEST_CASE("architectures that make no network are refused by name, before anything is allocated") {
  const auto refused = [](const std::string& named, const std::string& why, const std::vector<std::int64_t>& inputs,
                          const std::string& parameterization = "standard") {
    CAPTURE(named);
    CHECK_THROWS_AS(make_network_for(named, parameterization, inputs, outputs), UsageError);
    CHECK_THROWS_WITH(make_network_for(named, parameterization, inputs, outputs), Catch::Contains(why));
  };
  refused("convnet:4", "reads pictures, and inputs of shape [12] are none", {12});
  refused("convnet:4,0", "whole numbers from 1", shape);
  refused("convnet:", "whole numbers from 1", shape);
  refused("convnet:1,1,1,1,1,1,1", "more than 6 blocks", shape);
  refused("convnet:5000", "more than 4096 channels", shape);
  refused("convnet:4096,4096", "weights in a layer", shape);
  refused("convnet:32", "weights in its last layer", {1024, 1024});
  refused("convnet:4096,1,1", "too many numbers", {4096, 4096});
  refused("convnet:4096", "too many numbers", {1 << 20, 1 << 20});
  refused("convnet:4", "has to be standard", shape, "ntk");
  refused("cfc:4", "has to be standard", shape, "ntk");
  refused("torchscript:network.pt", "comes with its weights", shape);
  refused("resnet:18", "unknown family", shape);
}

}  // namespace afterimage
