// Which changes of weights are taken for those of a merged low-rank adapter.
#include "attacks/solver/adapter.h"

#include <catch2/catch.hpp>

#include "attacks/solver/row_span.h"
#include "models/mlp.h"

namespace afterimage::test {
namespace {

constexpr std::int64_t pixels = 300, width = 200;

TrainedNetwork network_with_biases(Generator& random) {
  TrainedNetwork released;
  released.network =
      std::make_shared<Mlp>(pixels, std::vector<std::int64_t>{width, width}, 1, Parameterization::standard);
  released.initial = released.network->draw_initial(random).value();
  for (const auto& [name, tensor] : released.initial.entries()) {
    if (tensor.dim() == 1) tensor.normal_(0, 0.1, random);
  }
  released.trained = released.initial.clone();
  return released;
}

void merge(const TrainedNetwork& released, const std::string& weight, std::int64_t rank, Generator& random) {
  const Tensor& to = released.trained.at(weight);
  to.add_(at::mm(at::randn({to.size(0), rank}, random, at::kFloat), at::randn({rank, to.size(1)}, random, at::kFloat)),
          0.003);
}

}  // namespace

TEST_CASE("a merged adapter is seen by its ranks, and its rank is not a count of images") {
  Generator random = seeded(3);
  for (const std::int64_t rank : {1, 8, 64}) {
    CAPTURE(rank);
    const TrainedNetwork released = network_with_biases(random);
    merge(released, "fc1.weight", rank, random);
    merge(released, "fc2.weight", rank, random);
    const auto adapter = merged_adapter(released);
    REQUIRE(adapter);
    CHECK(adapter->rank == rank);
    CHECK(adapter->layers == 2);
    const SpanSearch search = row_span_of(released);
    CHECK_FALSE(search.span);
    CHECK_THAT(search.evidence, Catch::Contains("merged low-rank adapter"));
  }
}

TEST_CASE(
    "an adapter in every layer may be one, as may training under frozen biases, and training with biases is none") {
  Generator random = seeded(5);
  const TrainedNetwork adapted = network_with_biases(random);
  for (const char* weight : {"fc1.weight", "fc2.weight", "fc3.weight"}) merge(adapted, weight, 4, random);
  CHECK(may_be_adapter(adapted));
  CHECK_FALSE(merged_adapter(adapted));  // which of the two it is the weights do not tell
  const TrainedNetwork moved = network_with_biases(random);
  for (const char* weight : {"fc1.weight", "fc2.weight", "fc3.weight"}) merge(moved, weight, 4, random);
  moved.trained.at("fc1.bias").add_(0.01);
  CHECK_FALSE(may_be_adapter(moved));
}

TEST_CASE("biases and weights that rounding to bfloat16 alone moved are still") {
  Generator random = seeded(6);
  TrainedNetwork released = network_with_biases(random);
  for (const char* weight : {"fc1.weight", "fc2.weight"}) {
    merge(released, weight, 4, random);
    released.trained.at(weight).add_(released.trained.at(weight) - released.initial.at(weight), 2);
  }
  released.trained = released.trained.to(at::kBFloat16).to(at::kFloat);
  const auto adapter = merged_adapter(released);
  REQUIRE(adapter);
  CHECK(adapter->rank == 4);
  CHECK(adapter->layers == 2);
}

TEST_CASE("gradient descent on few images, with biases, frozen biases or a frozen layer, is no adapter") {
  Generator random = seeded(4);
  const Tensor images = at::rand({8, pixels}, random, at::kFloat);
  const Tensor targets = at::rand({8, 1}, random, at::kFloat);
  for (const std::string frozen : {"none", "biases", "fc1", "fc3"}) {
    CAPTURE(frozen);
    const TrainedNetwork released = network_with_biases(random);
    for (int step = 0; step < 20; ++step) {
      const Parameters gradient = released.network->pullback(
          released.trained, images, [&](const Tensor& outputs) { return (outputs - targets) / 8; });
      for (std::size_t i = 0; i < gradient.size(); ++i) {
        const auto& name = gradient.entries()[i].first;
        const bool still = (frozen == "biases" && name.ends_with("bias")) || name.starts_with(frozen);
        if (!still) released.trained[i].sub_(gradient[i], 0.05);
      }
    }
    CHECK_FALSE(merged_adapter(released));
  }
}

TEST_CASE("layers of two ranks, and changes of full rank, are no adapter") {
  Generator random = seeded(5);
  const TrainedNetwork two = network_with_biases(random);
  merge(two, "fc1.weight", 8, random);
  merge(two, "fc2.weight", 4, random);
  CHECK_FALSE(merged_adapter(two));
  const TrainedNetwork full = network_with_biases(random);
  for (const char* name : {"fc1.weight", "fc2.weight"}) {
    full.trained.at(name).add_(at::randn(full.trained.at(name).sizes(), random, at::kFloat), 0.01);
  }
  CHECK_FALSE(merged_adapter(full));
  const TrainedNetwork one = network_with_biases(random);
  merge(one, "fc1.weight", 8, random);
  CHECK_FALSE(merged_adapter(one));
}

}  // namespace afterimage::test
