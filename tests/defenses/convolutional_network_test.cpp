#include "defenses/convolutional_network.h"

#include <catch2/catch.hpp>

#include "defenses/network_pool.h"
#include "tests/defenses/convolution_reference.h"

namespace afterimage {
namespace {

constexpr double beta = 4;  // soft, so that curvature matters
constexpr Smoothing relu{beta};

// Colours, and sides that three poolings do not divide.
struct Problem {
  ConvolutionalNetwork network{{9, 6, 2}, 2, 3};
  reference::Convolutions plain{9, 6, 2, 2, 3, beta};
  Generator random = seeded(1);
  Tensor parameters = network.initial(random, at::kDouble);
  Tensor images = at::randn({4, 9 * 6 * 2}, random, at::kDouble);

  Problem() { parameters.add_(at::randn(parameters.sizes(), random, at::kDouble), 0.1); }
  Tensor body() const { return parameters.narrow(0, 0, network.body()); }
  Tensor draw(at::IntArrayRef sizes) { return at::randn(sizes, random, at::kDouble); }
};

double error(const Tensor& value, const Tensor& expected) {
  return ((value - expected).norm() / expected.norm()).item<double>();
}

}  // namespace

TEST_CASE("the convolutional network's features, outputs and tangent products are autograd's") {
  Problem problem;
  const Linearization linear(problem.network, problem.parameters, problem.images, relu);
  REQUIRE(problem.network.body() == problem.plain.body_size());
  CHECK(error(linear.features(), problem.plain.features(problem.body(), problem.images)) < 1e-13);
  CHECK(error(linear.outputs(), problem.plain.evaluate(problem.parameters, problem.images)) < 1e-13);

  const Tensor jacobian = problem.plain.jacobian(problem.parameters, problem.images).detach();
  const Tensor direction = problem.draw({problem.network.body()}), cotangents = problem.draw({4, 3});
  CHECK(error(linear.pushforward(direction), at::matmul(jacobian, direction).reshape({4, 3})) < 1e-12);
  CHECK(error(linear.pullback(cotangents), at::matmul(cotangents.reshape({-1}), jacobian)) < 1e-12);
}

TEST_CASE("the gradient by the images goes through features and through two tangent products as autograd's does") {
  Problem problem;
  const Linearization linear(problem.network, problem.parameters, problem.images, relu);
  const Tensor by_features = problem.draw({4, problem.network.features() + 1});
  const Tensor first = problem.draw({problem.network.body()}), second = problem.draw({problem.network.body()});
  const Tensor one = problem.draw({4, 3}), other = problem.draw({4, 3});

  const Tensor images = problem.images.clone().requires_grad_(true);
  const Tensor jacobian = problem.plain.jacobian(problem.parameters, images);
  const Tensor value = (problem.plain.features(problem.body(), images) * by_features).sum() +
                       (at::matmul(jacobian, first) * one.reshape({-1})).sum() +
                       (at::matmul(jacobian, second) * other.reshape({-1})).sum();
  const Tensor expected = torch::autograd::grad({value}, {images})[0];
  CHECK(error(linear.image_gradient(by_features, {{first, one}, {second, other}}), expected) < 1e-12);
}

TEST_CASE("with hard ReLU the outputs are those of max(z, 0)") {
  Problem problem;
  problem.plain.beta = 1e6;
  const Linearization linear(problem.network, problem.parameters, problem.images, {});
  CHECK(error(linear.outputs(), problem.plain.evaluate(problem.parameters, problem.images)) < 1e-5);
}

TEST_CASE("the squared loss's gradient is autograd's, in the blocks and in the dense layer") {
  Problem problem;
  const Tensor targets = problem.draw({4, 3});
  const Tensor parameters = problem.parameters.clone().requires_grad_(true);
  const Tensor loss = (problem.plain.evaluate(parameters, problem.images) - targets).square().mean() / 2;
  CHECK(error(squared_loss_gradient(problem.network, problem.parameters, problem.images, targets, relu),
              torch::autograd::grad({loss}, {parameters})[0]) < 1e-12);
}

TEST_CASE("a pool's network lowers its loss, is replaced after its lifetime, and is restored from its state") {
  const ConvolutionalNetwork network({8, 8}, 2, 1);
  Generator random = seeded(2);
  NetworkPool pool(network, 2, 1e-3, random);
  const Tensor images = at::randn({4, 64}, random, at::kFloat), targets = at::randn({4, 1}, random, at::kFloat);
  const auto loss = [&] {
    const Linearization linear(network, pool.parameters(0), images, relu);
    return (linear.outputs() - targets).square().mean().item<double>();
  };
  const Tensor other = pool.parameters(1).clone();
  const double before = loss();
  pool.train(0, images, targets, relu, random);
  const double after = loss();
  CHECK(after < before);
  CHECK(pool.age(0) >= 1);
  CHECK(pool.age(0) <= NetworkPool::longest_turn);
  CHECK(at::equal(pool.parameters(1), other));

  Generator unrelated = seeded(3);
  NetworkPool copy(network, 2, 1e-3, unrelated);
  copy.restore(pool.state());
  Generator here = seeded(4), there = seeded(4);
  pool.train(0, images, targets, relu, here);
  copy.train(0, images, targets, relu, there);
  CHECK(at::equal(copy.parameters(0), pool.parameters(0)));

  std::int64_t oldest = 0, uses = 0;
  while (pool.age(0) >= oldest) {
    oldest = pool.age(0);
    pool.train(0, images, targets, relu, random);
    REQUIRE(++uses <= NetworkPool::lifetime);
  }
  CHECK(pool.age(0) == 0);
  CHECK(oldest < NetworkPool::lifetime);
  CHECK(oldest >= NetworkPool::lifetime - NetworkPool::longest_turn);
}

}  // namespace afterimage
