#include "models/tangent/analytic_ntk.h"

#include <catch2/catch.hpp>
#include <string>

#include "models/formats/npz.h"
#include "models/mlp.h"

namespace afterimage {
namespace {

double relative(const Tensor& a, const Tensor& b) { return ((a - b).norm() / b.norm()).item<double>(); }

}  // namespace

TEST_CASE("the kernel is that of the neural_tangents package, for any depth, with and without biases") {
  const NamedArrays reference = read_npz(TEST_DATA "/analytic-ntk.npz");
  const auto get = [&](const std::string& name) {
    const Array* array = find(reference, name);
    REQUIRE(array != nullptr);
    return to_tensor(*array);
  };
  const Tensor a = get("a"), b = get("b");
  struct Setting {
    std::string name;
    double weights, biases;
  };
  for (const auto& [name, weights, biases] :
       {Setting{"w1.00_b0.00", 1, 0}, Setting{"w2.00_b0.00", 2, 0}, Setting{"w1.44_b0.09", 1.44, 0.09}}) {
    for (const int hidden : {1, 2, 4}) {
      const auto kernel = AnalyticNtk::uniform(hidden, weights, biases);
      const std::string key = "hidden" + std::to_string(hidden) + "_" + name;
      CAPTURE(key);
      CHECK(relative(kernel(a, b), get(key)) < 1e-10);
      CHECK(relative(kernel(a, a), get(key + "_same")) < 1e-7);  // the package rounds on the diagonal
      CHECK(relative(kernel(a, a).diagonal(), kernel.diagonal(a)) < 1e-14);
      CHECK(relative(kernel(a.to(at::kFloat), b.to(at::kFloat)).to(at::kDouble), get(key)) < 1e-6);
    }
  }
}

TEST_CASE("a network's empirical kernel tends to its analytic one as it widens") {
  Generator random = seeded(5);
  const Tensor images = at::randn({12, 30}, random, at::kDouble);
  const auto parameterization = GENERATE(Parameterization::standard, Parameterization::ntk);
  const int hidden = GENERATE(1, 3);
  const auto distance = [&](std::int64_t width) {
    const Mlp network(30, std::vector<std::int64_t>(hidden, width), 1, parameterization);
    const Parameters start = network.draw_initial(random).value().to(at::kDouble);
    const Tensor empirical = network.tangents(start, start, {0.0})->gram(images, {});
    return relative(empirical, network.infinite_kernel()(images, images));
  };
  const double narrow = distance(64), wide = distance(4096);
  CHECK(wide < 0.06);  // about 2.5 / sqrt(width)
  CHECK(wide < narrow / 2.5);
}

TEST_CASE("the part of every weight and bias in a network's empirical kernel is that of its gain in the analytic one") {
  Generator random = seeded(7);
  const auto parameterization = GENERATE(Parameterization::standard, Parameterization::ntk);
  const auto widths = GENERATE(std::vector<std::int64_t>{300}, std::vector<std::int64_t>{200, 400, 300});
  constexpr int networks = 64;
  const Tensor images = at::randn({12, 30}, random, at::kDouble) + 1;  // half alike: pairs count as the diagonal does
  const Mlp network(30, widths, 1, parameterization);
  // Layers of different widths, so that no fan-in is mistaken for another. Many networks in place of wide ones: their
  // mean tends to the analytic kernel as a wide one does.
  std::vector<Tensor> parts(static_cast<std::size_t>(2 * network.layers()));
  for (Tensor& part : parts) part = at::zeros({12, 12}, at::kDouble);
  for (int i = 0; i < networks; ++i) {
    const Parameters start = network.draw_initial(random).value().to(at::kDouble);
    for (std::size_t tensor = 0; tensor < parts.size(); ++tensor) {
      // Features have no part for tensors that did not change.
      const Parameters trained = start.clone();
      trained[tensor].add_(1);
      parts[tensor].add_(network.tangents(start, trained, {0.0})->gram(images, {}), 1.0 / networks);
    }
  }
  const std::vector<AnalyticNtk::Layer> layers = network.infinite_kernel().layers();
  for (std::size_t tensor = 0; tensor < parts.size(); ++tensor) {
    std::vector<AnalyticNtk::Layer> alone = layers;
    for (auto& layer : alone) layer.weight_gain = layer.bias_gain = 0;
    const bool weight = tensor % 2 == 0;
    const std::size_t l = tensor / 2;
    (weight ? alone[l].weight_gain : alone[l].bias_gain) = weight ? layers[l].weight_gain : layers[l].bias_gain;
    CAPTURE(parameterization, widths, tensor);
    CHECK(relative(parts[tensor], AnalyticNtk(alone)(images, images)) < 0.1);  // up to 0.055 over seeds
  }
}

TEST_CASE("gradients of kernel products agree with finite differences") {
  Generator random = seeded(6);
  const auto hidden = GENERATE(1, 2, 5);
  const auto biases = GENERATE(0.0, 0.2);
  const auto kernel = AnalyticNtk::uniform(hidden, 1.7, biases);
  const Tensor a = at::randn({40, 9}, random, at::kDouble), b = at::randn({37, 9}, random, at::kDouble);
  const Tensor left = at::randn({40, 3}, random, at::kDouble), right = at::randn({37, 3}, random, at::kDouble);
  const Tensor direction = at::randn({40, 9}, random, at::kDouble);
  constexpr double step = 1e-5;
  const auto slope = [&](const auto& value) {
    return (value(a + step * direction) - value(a - step * direction)) / (2 * step);
  };

  const auto cross = kernel.product(a, b, right, left);
  CHECK(relative(cross.values, at::mm(kernel(a, b), right)) < 1e-12);
  CHECK((cross.gradient * direction).sum().item<double>() ==
        Approx(slope([&](const Tensor& x) {
          return (left * at::mm(kernel(x, b), right)).sum().item<double>();
        })).epsilon(1e-7));

  const auto quadratic = kernel.product(a, a, left, left);
  CHECK(relative(quadratic.values, at::mm(kernel(a, a), left)) < 1e-12);
  CHECK(2 * (quadratic.gradient * direction).sum().item<double>() ==
        Approx(slope([&](const Tensor& x) {
          return (left * at::mm(kernel(x, x), left)).sum().item<double>();
        })).epsilon(1e-7));

  const auto single = kernel.product(a.to(at::kFloat), b.to(at::kFloat), right.to(at::kFloat), left.to(at::kFloat));
  CHECK(relative(single.values.to(at::kDouble), cross.values) < 1e-5);
  CHECK(relative(single.gradient.to(at::kDouble), cross.gradient) < 1e-5);
}

TEST_CASE("images of zeros, and images that coincide, give finite kernels and gradients") {
  const auto kernel = AnalyticNtk::uniform(3, 2, 0);
  const Tensor a = at::zeros({3, 5}, at::kFloat);
  a[1].fill_(0.5);
  const Tensor b = a.clone(), ones = at::ones({3, 1}, at::kFloat);
  for (const Tensor& other : {a, b}) {
    const auto product = kernel.product(a, other, ones, ones);
    CHECK(at::isfinite(product.values).all().item<bool>());
    CHECK(at::isfinite(product.gradient).all().item<bool>());
  }
}

TEST_CASE("invalid layers of a kernel are refused") {
  CHECK_THROWS_AS(AnalyticNtk::uniform(0, 1, 0), std::invalid_argument);
  CHECK_THROWS_AS(AnalyticNtk::uniform(2, -1, 0), std::invalid_argument);
  CHECK_THROWS_AS(AnalyticNtk::uniform(40, 1, 0), std::invalid_argument);
}

}  // namespace afterimage
