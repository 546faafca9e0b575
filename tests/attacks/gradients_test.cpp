// The gradient of the penalty on pixels out of range, and the optimizer's steps.
#include <torch/optim/adam.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "attacks/solver/adam.h"
#include "attacks/solver/pixel_bounds.h"
#include "tests/models/finite_differences.h"

namespace afterimage {
namespace {

constexpr std::int64_t pixels = 20, coordinates = 7;

// The penalty of images [M, d] by its definition, number by number.
double plain_penalty(const ImageSpace& space, double weight, const Tensor& images) {
  const auto mean = to_doubles(space.mean), scale = to_doubles(space.scale), values = to_doubles(images);
  double sum = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t pixel = i % mean.size();
    const double above = values[i] - (space.high - mean[pixel]) / scale[pixel];
    const double below = (space.low - mean[pixel]) / scale[pixel] - values[i];
    sum += std::pow(std::max({above, below, 0.0}), 2);
  }
  return weight * sum / static_cast<double>(mean.size());
}

// Gradients, and rates for each row, of so many steps. Rows are of very different sizes: in the smallest, Adam's usual
// epsilon counts.
struct Steps {
  Tensor start;
  std::vector<Tensor> gradients, rates;

  Steps(std::int64_t count, at::ScalarType dtype) {
    Generator random = seeded(2);
    start = at::randn({4, 6}, random, at::kFloat).to(dtype);
    const Tensor sizes = at::tensor({1e3, 1.0, 1e-3, 1e-7}, dtype).unsqueeze(1);
    for (std::int64_t i = 0; i < count; ++i) {
      gradients.push_back(at::randn(start.sizes(), random, at::kFloat).to(dtype) * sizes);
      rates.push_back(at::rand({4, 1}, random, at::kFloat).to(dtype) * 0.1 + 0.02);
    }
  }
};

// The values of LibTorch's own Adam after every step.
std::vector<Tensor> torch_path(const Steps& steps, double epsilon) {
  std::vector<Tensor> rows;
  std::vector<torch::optim::OptimizerParamGroup> groups;
  for (const Tensor& row : steps.start.split(1)) {
    rows.push_back(row.clone().set_requires_grad(true));
    groups.emplace_back(std::vector<Tensor>{rows.back()});
  }
  torch::optim::Adam adam(groups, torch::optim::AdamOptions().eps(epsilon));
  std::vector<Tensor> path;
  for (std::size_t step = 0; step < steps.gradients.size(); ++step) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto row = static_cast<std::int64_t>(i);
      rows[i].mutable_grad() = steps.gradients[step].narrow(0, row, 1).clone();
      static_cast<torch::optim::AdamOptions&>(adam.param_groups()[i].options())
          .lr(steps.rates[step][row].item<double>());
    }
    adam.step();
    path.push_back(at::cat(rows).detach());
  }
  return path;
}

}  // namespace

TEST_CASE("the penalty is the mean squared excess, in a basis too, with the gradient of finite differences") {
  const bool in_basis = GENERATE(true, false);
  CAPTURE(in_basis);
  Generator random = seeded(1);
  const ImageSpace range{
      {pixels}, at::rand({pixels}, random, at::kDouble), 0, 1, at::rand({pixels}, random, at::kDouble) + 0.5};
  const Tensor directions = std::get<0>(at::linalg_qr(at::randn({pixels, coordinates}, random, at::kDouble)));
  const Tensor basis = in_basis ? directions.t() : Tensor();
  constexpr double weight = 0.7, scale = 2, step = 1e-6;
  PixelBounds bounds(range, basis, weight);
  const auto value = [&](const Tensor& candidates) {
    Tensor ignored = at::zeros_like(candidates);
    return bounds.add_gradient(candidates, 1, ignored);
  };
  // A state for one number of candidates does not fit another.
  for (const std::int64_t count : {3, 5, 2}) {
    CAPTURE(count);
    const Tensor candidates = 2 * at::randn({count, in_basis ? coordinates : pixels}, random, at::kDouble);
    const Tensor images = in_basis ? at::mm(candidates, basis) : candidates;
    Tensor gradient = at::ones_like(candidates);
    CHECK(bounds.add_gradient(candidates, scale, gradient) ==
          Approx(plain_penalty(range, weight, images)).epsilon(1e-12));
    const Tensor slopes = differences(candidates, step, value);
    CHECK((gradient - 1 - scale * slopes).norm().item<double>() < 1e-6 * scale * slopes.norm().item<double>());
  }
}

TEST_CASE("Adam's steps are those of LibTorch's own, at one rate and at a rate for each row") {
  const auto dtype = GENERATE(at::kDouble, at::kFloat);
  const bool by_row = GENERATE(false, true);
  constexpr double usual = 1e-8;
  const double epsilon = GENERATE(1e-8, 1e-3);
  CAPTURE(dtype, by_row, epsilon);
  Steps steps(5, dtype);
  if (!by_row) {
    for (Tensor& rates : steps.rates) rates.fill_(rates[0].item<double>());
  }
  const auto expected = torch_path(steps, epsilon);
  Tensor found = steps.start.clone();
  Adam adam = epsilon == usual ? Adam(found) : Adam(found, epsilon);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(i);
    if (by_row) {
      adam.step(found, steps.gradients[i], steps.rates[i]);
    } else {
      adam.step(found, steps.gradients[i], steps.rates[i][0].item<double>());
    }
    // Rounding of numbers near one; a step is a hundredth and more, but 1e-6 in the last row where epsilon is large.
    CHECK((found - expected[i]).abs().max().item<double>() < (dtype == at::kDouble ? 1e-13 : 5e-6));
  }
}

TEST_CASE("Adam restored from its state continues bit for bit") {
  const auto dtype = GENERATE(at::kDouble, at::kFloat);
  CAPTURE(dtype);
  const Steps steps(5, dtype);
  const auto take = [&](Adam& adam, Tensor& points, std::size_t from, std::size_t to) {
    for (std::size_t i = from; i < to; ++i) adam.step(points, steps.gradients[i], steps.rates[i]);
  };
  Tensor whole = steps.start.clone();
  Adam adam(whole);
  take(adam, whole, 0, 3);
  const State kept = adam.state();
  const Tensor middle = whole.clone();
  take(adam, whole, 3, 5);
  // Twice from the same state: continuing does not change the stored state.
  for (int again = 0; again < 2; ++again) {
    Tensor resumed = middle.clone(), elsewhere = middle.clone();
    Adam other(resumed);
    take(other, elsewhere, 0, 1);  // its earlier steps have no effect
    other.restore(kept);
    take(other, resumed, 3, 5);
    CHECK(at::equal(resumed, whole));
  }
  Tensor forgotten = middle.clone();
  Adam fresh(forgotten);
  take(fresh, forgotten, 3, 5);
  CHECK_FALSE(at::equal(forgotten, whole));
}

}  // namespace afterimage
