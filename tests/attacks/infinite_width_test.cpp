#include "attacks/infinite_width.h"

#include <catch2/catch.hpp>

#include "models/mlp.h"
#include "tests/attacks/released.h"

namespace afterimage {
namespace {

struct Trained {
  Subject subject;
  Tensor images;
};

// A network that learned four images without leaving its tangent space: its weights moved by `size` along their
// features; with 0 it learned nothing.
Trained trained(std::int64_t width, double size, Generator& random) {
  const auto network = std::make_shared<Mlp>(6, std::vector<std::int64_t>{width}, 1, Parameterization::ntk);
  Trained result;
  result.images = at::rand({4, 6}, random, at::kFloat);
  const Tensor coefficients = at::tensor({1.0, -1.2, 0.8, -0.7}, at::kFloat).unsqueeze(1) * size;
  released(result.subject).network = network;
  released(result.subject).initial = network->draw_initial(random).value();
  released(result.subject).trained =
      released(result.subject)
          .initial.plus(network->pullback(released(result.subject).initial, result.images,
                                          [&](const Tensor&) { return coefficients; }));
  result.subject.space = {{6}, at::zeros({6})};
  return result;
}

Reconstruction attack(const Subject& subject, Generator& random) {
  Silent progress;
  NullStore no_store;
  Job job{random, progress, no_store};
  return infinite_width_attack().configured({{"climbers", "12"}, {"frank-wolfe-rounds", "6"}}).run(subject, {}, job);
}

}  // namespace

TEST_CASE("the images of a very wide network are found from its outputs alone") {
  Generator random = seeded(3);
  const Trained network = trained(1 << 15, 1e-2, random);
  const Reconstruction found = attack(network.subject, random);
  INFO(found.reason << found.evidence.dump());
  REQUIRE(found.status == Status::ok);
  // Approximately, and among images with some weight: the finite width blurs the kernel's cusps.
  const Tensor weight = found.coefficients.abs().squeeze(1);
  const Tensor heavy = found.claim.images.index_select(0, at::nonzero(weight > 0.1 * weight.max()).squeeze(1));
  REQUIRE(heavy.size(0) <= 16);
  // Relative L2 from each true image to the nearest of a support, their mean: supports [n, M, 6] -> [n].
  const auto distance = [&](const Tensor& supports) {
    return (std::get<0>(at::cdist(network.images, supports).min(2)) / network.images.norm(2, 1)).mean(1);
  };
  const double reached = distance(heavy.unsqueeze(0)).item<double>();
  const double by_chance = distance(at::rand({500, heavy.size(0), 6}, random, at::kFloat)).min().item<double>();
  CAPTURE(heavy.size(0), by_chance);
  CHECK(reached < by_chance);
}

TEST_CASE("a network that is narrow or left its tangent space is not treated as one of infinite width") {
  Generator random = seeded(4);
  CHECK(attack(trained(64, 1e-2, random).subject, random).status == Status::not_applicable);
  const Reconstruction strayed = attack(trained(1 << 14, 300, random).subject, random);
  CHECK(strayed.status == Status::not_applicable);
  CHECK(strayed.evidence["training_gap"].get<double>() > 0.3);
}

TEST_CASE("where training changed no output the attack does not apply, and the reason says so") {
  Generator random = seeded(5);
  const Reconstruction found = attack(trained(64, 0, random).subject, random);
  CHECK(found.status == Status::not_applicable);
  CHECK(found.reason.find("nothing") != std::string::npos);

  Subject infinite;
  const auto kernel = AnalyticNtk::uniform(1, 2, 0.1);
  const Tensor images = at::rand({4, 6}, random, at::kFloat), zeros = at::zeros({4, 1});
  infinite.released = InfiniteNetwork{std::make_shared<KernelRegression>(kernel, images, zeros), kernel};
  infinite.space = {{6}, at::zeros({6})};
  const Reconstruction nothing = attack(infinite, random);
  CHECK(nothing.status == Status::not_applicable);
  CHECK(nothing.reason.find("nothing") != std::string::npos);
  CHECK_FALSE(nothing.claim.images.defined());
}

TEST_CASE("whether a network is wide enough is measured on one output, however many there are") {
  Generator random = seeded(6);
  const Subject one = trained(64, 1e-2, random).subject;
  const auto with_others = [&](const Parameters& parameters) {
    std::vector<Parameters::Entry> entries = parameters.entries();
    Tensor &weight = entries[2].second, &bias = entries[3].second;
    weight = at::cat({weight, at::randn({49, 64}, random, at::kFloat)});
    bias = at::cat({bias, at::randn({49}, random, at::kFloat)});
    return Parameters(std::move(entries));
  };
  Subject many = one;
  many.released = TrainedNetwork{std::make_shared<Mlp>(6, std::vector<std::int64_t>{64}, 50, Parameterization::ntk),
                                 with_others(released(one).initial), with_others(released(one).trained)};
  const auto width_gap = [](const Subject& subject) {
    Generator same = seeded(7);
    return attack(subject, same).evidence.at("width_gap").get<double>();
  };
  CHECK(width_gap(many) == Approx(width_gap(one)).epsilon(1e-9));
}

}  // namespace afterimage
