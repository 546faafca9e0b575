#include "models/connected_networks.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "models/foundations/error.h"
#include "models/mlp.h"
#include "tests/models/finite_differences.h"

namespace afterimage {
namespace {

constexpr std::int64_t height = 4, width = 3, outputs = 2;

std::unique_ptr<Network> network_of(const std::string& architecture) {
  return make_connected_network(architecture, {height, width}, outputs);
}

const std::vector<std::string> all = {"rnn:5",
                                      "rnn:5,rank=2,sparsity=0.4",
                                      "lstm:5,rank=3",
                                      "gru:5,sparsity=0.5,mask=3",
                                      "cfc:5,rank=2,sparsity=0.2",
                                      "cfc:5,rank=3,time=first",
                                      "low-rank-mlp:6,5,rank=2,sparsity=0.3",
                                      "low-rank-mlp:6,5,4"};

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

// Scalars, step by step, from the formulas of the header.
struct Reference {
  std::string cell;
  Parameters p;
  std::int64_t hidden;
  Tensor recurrent;  // [G, H, H]

  double z(std::int64_t gate, std::int64_t unit, const Tensor& x, const std::vector<double>& h, bool past = true,
           bool now = true) const {
    const std::int64_t row = gate * hidden + unit;
    double sum = now ? p.at("input.bias")[row].item<double>() : 0;
    for (std::int64_t k = 0; now && k < x.size(0); ++k) {
      sum += p.at("input.weight")[row][k].item<double>() * x[k].item<double>();
    }
    for (std::int64_t k = 0; past && k < hidden; ++k) {
      sum += recurrent[gate][unit][k].item<double>() * h[static_cast<std::size_t>(k)];
    }
    return sum;
  }

  std::vector<double> run(const Tensor& image) const {
    const auto size = static_cast<std::size_t>(hidden);
    std::vector<double> h(size, 0), c(size, 0);
    for (std::int64_t step = 0; step < height; ++step) {
      const Tensor x = image.view({height, width})[step];
      std::vector<double> next(size);
      for (std::int64_t unit = 0; unit < hidden; ++unit) {
        const auto at = static_cast<std::size_t>(unit);
        if (cell == "rnn") next[at] = std::tanh(z(0, unit, x, h));
        if (cell == "lstm") {
          c[at] = logistic(z(0, unit, x, h)) * c[at] + logistic(z(1, unit, x, h)) * std::tanh(z(2, unit, x, h));
          next[at] = logistic(z(3, unit, x, h)) * std::tanh(c[at]);
        }
        if (cell == "gru") {
          const double u = logistic(z(0, unit, x, h)), r = logistic(z(1, unit, x, h));
          const double n = std::tanh(z(2, unit, x, h, false) + r * z(2, unit, x, h, true, false));
          next[at] = (1 - u) * n + u * h[at];
        }
        if (cell == "cfc") {
          const double s = logistic(-z(0, unit, x, h));
          const auto a = [](double value) { return 1.7159 * std::tanh(2.0 / 3 * value); };
          next[at] = s * a(z(1, unit, x, h)) + (1 - s) * a(z(2, unit, x, h));
        }
      }
      h = next;
    }
    std::vector<double> result;
    for (std::int64_t k = 0; k < outputs; ++k) {
      double sum = p.at("output.bias")[k].item<double>();
      for (std::int64_t unit = 0; unit < hidden; ++unit) {
        sum += p.at("output.weight")[k][unit].item<double>() * h[static_cast<std::size_t>(unit)];
      }
      result.push_back(sum);
    }
    return result;
  }
};

double spectral_radius(const Tensor& matrix) { return at::linalg_eigvals(matrix).abs().max().item<double>(); }

}  // namespace

TEST_CASE("each cell's outputs are those of its formulas, step by step in plain numbers") {
  for (const std::string cell : {"rnn", "lstm", "gru", "cfc"}) {
    CAPTURE(cell);
    Generator random = seeded(1);
    const auto network = network_of(cell + ":3,rank=2,sparsity=0.3");
    Parameters parameters = network->draw_initial(random).value().to(at::kDouble);
    for (const auto& [name, tensor] : parameters.entries())
      tensor.add_(at::randn(tensor.sizes(), random, at::kDouble), 0.3);
    const auto& recurrent = dynamic_cast<const RecurrentNetwork&>(*network);
    const Reference reference{cell, parameters, 3, recurrent.recurrent_matrices(parameters)};
    const Tensor images = at::randn({2, height * width}, random, at::kDouble);
    const Tensor found = network->evaluate(parameters, images);
    for (std::int64_t i = 0; i < 2; ++i) {
      const auto wanted = reference.run(images[i]);
      for (std::int64_t k = 0; k < outputs; ++k) {
        CHECK(found[i][k].item<double>() == Approx(wanted[static_cast<std::size_t>(k)]).epsilon(1e-10));
      }
    }
  }
}

TEST_CASE("gradients of all cells by parameters and inputs are those of finite differences") {
  for (const auto& architecture : all) {
    CAPTURE(architecture);
    Generator random = seeded(2);
    const auto network = network_of(architecture);
    const Parameters parameters = network->draw_initial(random).value().to(at::kDouble);
    const Tensor images = at::randn({3, height * width}, random, at::kDouble),
                 cotangents = at::randn({3, outputs}, random, at::kDouble);
    const auto value = [&](const Parameters& at, const Tensor& x) {
      return (network->evaluate(at, x) * cotangents).sum().item<double>();
    };
    const Parameters gradient = network->pullback(parameters, images, [&](const Tensor&) { return cotangents; });
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const Tensor slopes = differences(parameters[i], 1e-6, [&](const Tensor& moved) {
        auto entries = parameters.entries();
        entries[i].second = moved;
        return value(Parameters(entries), images);
      });
      CHECK((gradient[i] - slopes).abs().max().item<double>() < 1e-5 * (1 + slopes.abs().max().item<double>()));
    }
    const Tensor by_images = network->input_gradient(parameters, images, cotangents).gradient;
    const Tensor slopes = differences(images, 1e-6, [&](const Tensor& x) { return value(parameters, x); });
    CHECK((by_images - slopes).abs().max().item<double>() < 1e-5);
    // Along a direction.
    std::vector<Parameters::Entry> direction;
    for (const auto& [name, tensor] : parameters.entries()) {
      direction.emplace_back(name, at::randn(tensor.sizes(), random, at::kDouble));
    }
    const Tensor change = network->pushforward(parameters, Parameters(direction), images);
    const Tensor moved = network->evaluate(parameters.plus(Parameters(direction), 1e-6), images) -
                         network->evaluate(parameters.plus(Parameters(direction), -1e-6), images);
    CHECK(at::allclose(change, moved / 2e-6, 1e-5, 1e-7));
  }
}

TEST_CASE("cfc's gate is the closed form of a differential equation, as a fine solution of it shows") {
  // x(t) = s g + (1 - s) h with s = logistic(-f t) solves dx/dt = -f s (1 - s) (g - h), x(0) = (g + h) / 2.
  Generator random = seeded(3);
  const auto network = make_connected_network("cfc:4", {1, 3}, 4);
  Parameters parameters = network->draw_initial(random).value().to(at::kDouble);
  parameters.at("output.weight").copy_(at::eye(4, at::kDouble));
  const Tensor image = at::randn({1, 3}, random, at::kDouble);
  const Tensor z = (at::mm(image, parameters.at("input.weight").t()) + parameters.at("input.bias")).view({3, 4});
  const auto a = [](const Tensor& value) { return 1.7159 * at::tanh(value * (2.0 / 3)); };
  const Tensor f = z[0], g = a(z[1]), h = a(z[2]);
  const auto& cfc = dynamic_cast<const RecurrentNetwork&>(*network);
  std::vector<Tensor> tensors;
  for (const auto& [name, tensor] : parameters.entries()) tensors.push_back(tensor);
  for (const double end : {0.3, 1.0, 2.5}) {
    Tensor x = (g + h) / 2;
    constexpr int steps = 2000;
    const double dt = end / steps;
    const auto slope = [&](double t) {
      const Tensor s = at::sigmoid(-f * t);
      return -f * s * (1 - s) * (g - h);
    };
    for (int k = 0; k < steps; ++k) {  // the right-hand side depends on t alone: Runge-Kutta is Simpson's rule
      const double t = k * dt;
      x = x + (slope(t) + 4 * slope(t + dt / 2) + slope(t + dt)) * (dt / 6);
    }
    const Tensor found = cfc.recorded_at({end})(tensors, image, {}).squeeze(0);
    CHECK((found - x).abs().max().item<double>() < 1e-9);
  }
}

TEST_CASE("recurrent matrices have the rank and the share of zeros that the architecture says") {
  Generator random = seeded(4);
  const auto of = [&](const std::string& architecture) {
    const auto network = network_of(architecture);
    const Parameters initial = network->draw_initial(random).value();
    return dynamic_cast<const RecurrentNetwork&>(*network).recurrent_matrices(initial);
  };
  CHECK(at::linalg_matrix_rank(of("rnn:20,rank=4")[0]).item<std::int64_t>() == 4);
  CHECK(at::linalg_matrix_rank(of("rnn:20")[0]).item<std::int64_t>() == 20);
  const Tensor sparse = of("cfc:20,sparsity=0.75");
  CHECK(sparse[0].eq(0).sum().item<std::int64_t>() == 0);  // the time gate has no mask
  for (int gate = 1; gate < 3; ++gate) CHECK(sparse[gate].eq(0).sum().item<std::int64_t>() == 300);
  // One mask a seed, whatever the weights.
  CHECK(at::equal(of("rnn:20,sparsity=0.5,mask=7").eq(0), of("rnn:20,sparsity=0.5,mask=7").eq(0)));
  CHECK_FALSE(at::equal(of("rnn:20,sparsity=0.5,mask=7").eq(0), of("rnn:20,sparsity=0.5,mask=8").eq(0)));
  // With all ranks the product is the matrix that it is the decomposition of.
  const Tensor whole = at::randn({6, 6}, random, at::kFloat);
  const auto [left, right] = factors_of(whole, 6);
  CHECK(at::allclose(at::mm(left, right), whole, 1e-4, 1e-5));
}

TEST_CASE("the spectral radius at the start falls with a smaller rank and with more zeros") {
  const auto radius = [](const std::string& settings) {
    double sum = 0;
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
      Generator random = seeded(seed);
      const auto network = network_of("rnn:60" + settings + ",mask=" + std::to_string(seed));
      const Parameters initial = network->draw_initial(random).value();
      sum += spectral_radius(dynamic_cast<const RecurrentNetwork&>(*network).recurrent_matrices(initial)[0]);
    }
    return sum / 10;
  };
  CHECK(radius(",rank=2") < radius(",rank=10"));
  CHECK(radius(",rank=10") < radius(",rank=30"));
  CHECK(radius(",rank=30") < radius(",rank=60"));
  for (const std::string rank : {"", ",rank=30"}) {
    CHECK(radius(rank + ",sparsity=0.9") < radius(rank + ",sparsity=0.5"));
    CHECK(radius(rank + ",sparsity=0.5") < radius(rank + ",sparsity=0.1"));
  }
}

TEST_CASE("a low-rank mlp of full rank without zeros is the mlp, outputs and gradients") {
  Generator random = seeded(5);
  const auto low = network_of("low-rank-mlp:6,5");
  const auto plain = make_network("mlp:6,5", "standard", height * width, outputs);
  const Parameters parameters = plain->draw_initial(random).value().to(at::kDouble);
  const Tensor images = at::randn({7, height * width}, random, at::kDouble),
               cotangents = at::randn({7, outputs}, random, at::kDouble);
  CHECK(at::allclose(low->evaluate(parameters, images), plain->evaluate(parameters, images)));
  const auto by = [&](const Network& network) {
    return network.pullback(parameters, images, [&](const Tensor&) { return cotangents; });
  };
  CHECK(by(*low).minus(by(*plain)).squared_norm() < 1e-20);
}

TEST_CASE("with time=first cfc has the time since the last step from each input itself") {
  Generator random = seeded(8);
  const auto timed = network_of("cfc:5,rank=2,time=first"), plain = network_of("cfc:5,rank=2");
  const Parameters parameters = timed->draw_initial(random).value().to(at::kDouble);
  const Tensor images = at::rand({3, height * width}, random, at::kDouble);
  const auto& fixed = dynamic_cast<const RecurrentNetwork&>(*plain);
  std::vector<Tensor> tensors;
  for (const auto& [name, tensor] : parameters.entries()) tensors.push_back(tensor);
  const Tensor found = timed->evaluate(parameters, images);
  for (std::int64_t i = 0; i < 3; ++i) {
    const Tensor image = images.narrow(0, i, 1);
    const Tensor times = image.view({height, width}).select(1, 0).contiguous();
    const std::vector<double> own(times.data_ptr<double>(), times.data_ptr<double>() + height);
    CHECK(at::allclose(found.narrow(0, i, 1), fixed.recorded_at(own)(tensors, image, {})));
  }
  CHECK_FALSE(at::allclose(found, plain->evaluate(parameters, images)));
}

TEST_CASE("matrices of limited rank are those that a network multiplies by") {
  Generator random = seeded(9);
  const auto mlp = network_of("low-rank-mlp:6,5,4,rank=2,sparsity=0.3");
  Parameters parameters = mlp->draw_initial(random).value().to(at::kDouble);
  const auto matrices = mlp->hidden_matrices(parameters);
  REQUIRE(matrices.size() == 2);
  CHECK(matrices[1].first == "fc3");
  CHECK((matrices[0].second == 0).sum().item<std::int64_t>() == 9);  // 0.3 of 5 by 6
  const Tensor product = at::mm(parameters.at("fc3.left"), parameters.at("fc3.right"));
  CHECK(at::equal(matrices[1].second, at::where(matrices[1].second == 0, at::zeros_like(product), product)));
  // As the outputs have it: dense layers of the same matrices give the same.
  const auto dense = make_network("mlp:6,5,4", "standard", height * width, outputs);
  auto entries = dense->draw_initial(random).value().to(at::kDouble).entries();
  for (const std::string name : {"fc1.weight", "fc1.bias", "fc2.bias", "fc3.bias", "fc4.weight", "fc4.bias"}) {
    std::find_if(entries.begin(), entries.end(), [&](const auto& entry) { return entry.first == name; })->second =
        parameters.at(name);
  }
  entries[2].second = matrices[0].second;
  entries[4].second = matrices[1].second;
  const Tensor images = at::randn({3, height * width}, random, at::kDouble);
  CHECK(at::allclose(dense->evaluate(Parameters(entries), images), mlp->evaluate(parameters, images)));
  const auto lstm = network_of("lstm:5,rank=2");
  const auto gates = lstm->hidden_matrices(lstm->draw_initial(random).value());
  REQUIRE(gates.size() == 4);
  CHECK(gates[0].first == "recurrent f");
  CHECK(gates[3].first == "recurrent o");
  CHECK(make_network("mlp:6", "standard", 12, 2)->hidden_matrices({}).empty());
}

TEST_CASE("settings and shapes that make no network are refused with the architecture's name") {
  const auto refused = [](const std::string& architecture, const std::string& why,
                          const std::vector<std::int64_t>& shape = {height, width}) {
    CAPTURE(architecture);
    CHECK_THROWS_AS(make_connected_network(architecture, shape, outputs), UsageError);
    CHECK_THROWS_WITH(make_connected_network(architecture, shape, outputs),
                      Catch::Contains(architecture) && Catch::Contains(why));
  };
  refused("rnn:8,rank=9", "rank 9 is above the width 8");
  refused("low-rank-mlp:8,4,rank=5", "rank 5 is above the width 4");
  refused("low-rank-mlp:8", "two widths or more");
  for (const std::string share : {"1", "-0.1", "1.5", "half", ""}) {
    refused("cfc:8,sparsity=" + share, "from 0 to below 1");
  }
  refused("cfc:8,rank=0", "whole number from 1");
  refused("cfc:8,rank=2,rank=3", "twice");
  refused("cfc:8,depth=2", "unknown");
  refused("cfc:8,time=last", "has to be first");
  refused("gru:8,time=first", "of cfc alone");
  refused("low-rank-mlp:8,8,time=first", "of cfc alone");
  refused("cfc:rank=2", "no sizes");
  refused("gru:8,8", "one layer");
  refused("gru:0", "whole numbers from 1");
  refused("lstm:8", "have no rows", {12});
  // From a hostile file: before anything is allocated.
  refused("cfc:65536", "from 1 to 2048");
  refused("rnn:1048576,rank=1048576", "from 1 to 2048");
  refused("low-rank-mlp:1048576,1048576", "weights between two layers");
  refused("lstm:32", "is the most", {1048576, 1});
}

}  // namespace afterimage
