#include "attacks/infinite_width.h"

#include <catch2/catch.hpp>

#include "models/mlp.h"

namespace afterimage {
namespace {

struct Trained {
  Subject subject;
  Tensor images;
};

// A network that learned four images without leaving its tangent space: its weights moved by `size` along their
// features.
Trained trained(std::int64_t width, double size, Generator& random) {
  const auto network = std::make_shared<Mlp>(6, std::vector<std::int64_t>{width}, 1, Parameterization::ntk);
  Trained result;
  result.images = at::rand({4, 6}, random, at::kFloat);
  const Tensor coefficients = at::tensor({1.0, -1.2, 0.8, -0.7}, at::kFloat).unsqueeze(1) * size;
  result.subject.network = network;
  result.subject.initial = network->initial(random);
  result.subject.trained = result.subject.initial.plus(
      network->pullback(result.subject.initial, result.images, [&](const Tensor&) { return coefficients; }));
  result.subject.bounds = {at::zeros({6}), 0, 1};
  return result;
}

Reconstruction attack(const Subject& subject, Generator& random) {
  const InfiniteWidth infinite;
  Silent progress;
  Forgetful forgetful;
  return infinite.run(subject, {}, OptionValues(infinite.options(), {{"climbers", "12"}, {"frank-wolfe-rounds", "6"}}),
                      random, progress, forgetful);
}

}  // namespace

TEST_CASE("a network that is very wide gives its images away through its outputs alone") {
  Generator random = seeded(3);
  const Trained network = trained(1 << 15, 1e-2, random);
  const Reconstruction found = attack(network.subject, random);
  INFO(found.reason << found.evidence.dump());
  REQUIRE(found.conclusion == Conclusion::ok);
  // Roughly, and among the images of some weight: what the width adds to the outputs blurs the kernel's cusps.
  const Tensor weight = found.coefficients.abs().squeeze(1);
  const Tensor heavy = found.claim.images.index_select(0, at::nonzero(weight > 0.1 * weight.max()).squeeze(1));
  REQUIRE(heavy.size(0) <= 16);
  const auto distance = [&](const Tensor& images) {
    return (std::get<0>(at::cdist(images, heavy).min(1)) / images.norm(2, 1)).mean().item<double>();
  };
  CHECK(distance(network.images) < 0.3);
  CHECK(distance(network.images) < 0.6 * distance(at::rand({200, 6}, random, at::kFloat)));
}

TEST_CASE("a network that is narrow, or left its tangent space, is not taken for one of infinite width") {
  Generator random = seeded(4);
  CHECK(attack(trained(64, 1e-2, random).subject, random).conclusion == Conclusion::not_applicable);
  const Reconstruction strayed = attack(trained(1 << 14, 300, random).subject, random);
  CHECK(strayed.conclusion == Conclusion::not_applicable);
  CHECK(strayed.evidence["training_gap"].get<double>() > 0.3);
}

}  // namespace afterimage
