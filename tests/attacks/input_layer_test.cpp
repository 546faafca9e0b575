// Which weight of any network the images themselves go into, and what its change shows.
#include <catch2/catch.hpp>

#include "attacks/solver/row_span.h"
#include "models/scripted_network.h"

namespace afterimage::test {
namespace {

TrainedNetwork scripted(const std::string& file, std::vector<std::int64_t> shape, std::int64_t outputs) {
  TrainedNetwork released;
  const auto network = std::make_shared<ScriptedNetwork>(std::string(TEST_DATA) + "/" + file, "torchscript:" + file,
                                                         std::move(shape), outputs);
  released.network = network;
  released.initial = network->archived();
  released.trained = network->archived().clone();
  return released;
}

}  // namespace

TEST_CASE("the layer that images go into is found before a batch normalisation, and is none behind a convolution") {
  CHECK(input_weight_of(scripted("dense-scripted.pt", {6}, 2)) == "fc1.weight");
  // Its third layer takes six numbers as well.
  CHECK(input_weight_of(scripted("normalised-traced.pt", {6}, 1)) == "0.weight");
  CHECK_FALSE(input_weight_of(scripted("conv-traced.pt", {8, 8}, 2)));
  CHECK_FALSE(input_weight_of(scripted("residual-scripted.pt", {6, 6, 3}, 1)));
}

TEST_CASE("the row space of such a layer's change is that of the training images") {
  Generator random = seeded(2);
  const Tensor images = at::randn({2, 6}, random, at::kFloat), others = at::randn({20, 6}, random, at::kFloat);
  const TrainedNetwork released = scripted("normalised-traced.pt", {6}, 1);
  for (int step = 0; step < 5; ++step) {
    const Parameters gradient =
        released.network->pullback(released.trained, images, [](const Tensor& outputs) { return outputs - 1; });
    for (std::size_t i = 0; i < gradient.size(); ++i) released.trained[i].sub_(gradient[i], 0.1);
  }
  const SpanSearch search = input_span_of(released);
  REQUIRE(search.span);
  CHECK(search.span->rank == 2);
  CHECK(distance_to_span(*search.span, images).max().item<double>() < 1e-4);
  CHECK(distance_to_span(*search.span, others).min().item<double>() > 0.05);
  CHECK_FALSE(row_span_of(released).span);  // which attacks use that need the closed forms
}

}  // namespace afterimage::test
