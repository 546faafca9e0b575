#include "models/dense_layers.h"

#include <catch2/catch.hpp>

namespace afterimage {
namespace {

Parameters named(const std::vector<std::pair<std::string, std::vector<std::int64_t>>>& shapes) {
  std::vector<Parameters::Entry> entries;
  for (const auto& [name, shape] : shapes) entries.emplace_back(name, at::zeros(shape));
  return Parameters(std::move(entries));
}

}  // namespace

TEST_CASE("dense layers are recognised in file order or by their numbers, whatever their names") {
  const auto sequential =
      dense_layers(named({{"0.weight", {8, 5}}, {"0.bias", {8}}, {"2.weight", {3, 8}}, {"2.bias", {3}}}));
  REQUIRE(sequential);
  CHECK(sequential->architecture() == "mlp:8");
  CHECK(sequential->sizes == std::vector<std::int64_t>{5, 8, 3});

  // As formats that sort names write them: 10 comes before 2, and a bias before its weight.
  const auto sorted = dense_layers(named({{"net.10.bias", {1}},
                                          {"net.10.weight", {1, 8}},
                                          {"net.2.bias", {8}},
                                          {"net.2.weight", {8, 7}},
                                          {"net.0.weight", {7, 5}}}));
  REQUIRE(sorted);
  CHECK(sorted->architecture() == "mlp:7,8");
  CHECK(sorted->weights == std::vector<std::string>{"net.0.weight", "net.2.weight", "net.10.weight"});
  CHECK(sorted->biases == std::vector<std::string>{"", "net.2.bias", "net.10.bias"});
}

TEST_CASE("one layer is a network, and layers in alphabetical order are put in that of their numbers") {
  const auto one = dense_layers(named({{"weight", {2, 4}}, {"bias", {2}}}));
  REQUIRE(one);
  CHECK(one->architecture() == "linear");
  CHECK(one->sizes == std::vector<std::int64_t>{4, 2});
  // As safetensors sorts them: it is a chain in that order, too.
  const auto deep = dense_layers(named({{"layers.0.weight", {5, 5}},
                                        {"layers.10.weight", {5, 5}},
                                        {"layers.2.weight", {5, 5}},
                                        {"out.weight", {1, 5}}}));
  REQUIRE(deep);
  CHECK(deep->weights ==
        std::vector<std::string>{"layers.0.weight", "layers.2.weight", "layers.10.weight", "out.weight"});
  // An order of the file that is not alphabetical says something.
  const auto filed = dense_layers(named({{"in.weight", {5, 5}}, {"hidden.weight", {5, 5}}, {"out.weight", {1, 5}}}));
  REQUIRE(filed);
  CHECK(filed->weights.front() == "in.weight");
}

TEST_CASE("weights that are no chain of dense layers are not recognised as one") {
  CHECK_FALSE(dense_layers(named({{"conv.weight", {4, 3, 3, 3}}, {"fc.weight", {2, 4}}})));
  CHECK_FALSE(dense_layers(named({{"a.weight", {8, 5}}, {"a_norm.scale", {8}}, {"b.weight", {3, 8}}})));  // of neurons
  CHECK_FALSE(dense_layers(named({{"a.weight", {8, 5}}, {"b.weight", {3, 7}}})));                         // 8 into 7
  CHECK_FALSE(dense_layers(named({{"a.weight", {8, 5}}, {"a.bias", {7}}, {"b.weight", {3, 8}}})));  // bias of 7 for 8
  CHECK_FALSE(dense_layers(named({{"a.weight", {8, 5}}, {"b.weight", {3, 8}}, {"norm.bias", {8}}})));
}

}  // namespace afterimage
