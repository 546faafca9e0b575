#include "attacks/solver/frank_wolfe.h"

#include <catch2/catch.hpp>

#include "tests/attacks/recorder.h"

namespace afterimage {
namespace {

struct Setting {
  Tensor images;  // [N, d], pixels in [0, 1]
  std::shared_ptr<const KernelRegression> learned;
};

Setting learn(const AnalyticNtk& kernel, std::int64_t samples, std::int64_t outputs, Generator& random) {
  const Tensor images = at::rand({samples, 24}, random, at::kFloat);
  const Tensor targets = at::randn({samples, outputs}, random, at::kFloat);
  return {images, std::make_shared<KernelRegression>(kernel, images, targets)};
}

// Relative L2 from each true image to the nearest of the support, which of the support that is, and the relative error
// of its coefficients.
struct Errors {
  Tensor images, nearest, coefficients;
};
Errors errors(const Measure& found, const Setting& truth) {
  const auto [distance, nearest] = at::cdist(truth.images.to(at::kDouble), found.images).min(1);
  const Tensor& right = truth.learned->coefficients();
  return {distance / truth.images.norm(2, 1), nearest,
          (found.coefficients.index_select(0, nearest) - right).norm(2, 1) / right.norm(2, 1)};
}

Measure solve(const Setting& setting, const AnalyticNtk& kernel, Generator& random) {
  Silent progress;
  NullStore no_store;
  Job job{random, progress, no_store};
  FrankWolfePlan plan;
  plan.climbers = 60;
  return frank_wolfe(*setting.learned, kernel, {{24}, at::zeros({24})}, {}, plan, job);
}

}  // namespace

TEST_CASE("Theorem 1: from any of 20 seeds, nothing is left unexplained only at the training images") {
  const auto kernel = AnalyticNtk::uniform(2, 2, 0.1);
  int reached = 0;
  for (int seed = 0; seed < 20; ++seed) {
    Generator random = seeded(seed);
    const Setting setting = learn(kernel, 6, 1, random);
    const Measure found = solve(setting, kernel, random);
    const Errors error = errors(found, setting);
    CAPTURE(seed, found.residuals.back(), error.images.max().item<double>());
    if (found.residuals.back() > 1e-9) continue;
    ++reached;
    CHECK(error.images.max().item<double>() < 2e-4);
    CHECK(error.coefficients.max().item<double>() < 1e-2);
  }
  CHECK(reached == 20);
}

TEST_CASE("a search that is interrupted between rounds resumes to the same result") {
  const auto kernel = AnalyticNtk::uniform(2, 2, 0.1);
  const auto run = [&](Recorder& recorder) {
    Generator random = seeded(3);
    const Setting setting = learn(kernel, 6, 1, random);
    Silent progress;
    Job job{random, progress, recorder};
    FrankWolfePlan plan;
    plan.climbers = 60;
    return frank_wolfe(*setting.learned, kernel, {{24}, at::zeros({24})}, {}, plan, job);
  };
  Recorder recorder;
  const Measure whole = run(recorder);
  REQUIRE(recorder.states.size() > 2);
  Recorder from(recorder.states[recorder.states.size() / 2]);
  const Measure resumed = run(from);
  CHECK(at::equal(resumed.images, whole.images));
  CHECK(resumed.residuals == whole.residuals);
  CHECK(from.states.size() < recorder.states.size());
}

TEST_CASE("images with several dual coefficients each are found as well") {
  Generator random = seeded(4);
  const auto kernel = AnalyticNtk::uniform(1, 2, 0.1);
  const Setting setting = learn(kernel, 10, 3, random);
  const Measure found = solve(setting, kernel, random);
  const Errors error = errors(found, setting);
  CHECK(error.images.max().item<double>() < 1e-3);
  CHECK(error.coefficients.max().item<double>() < 1e-2);
  CHECK(found.images.size(0) < 20);
}

TEST_CASE("given images stay, and the others are found") {
  Generator random = seeded(5);
  const auto kernel = AnalyticNtk::uniform(2, 2, 0.1);
  const Setting setting = learn(kernel, 8, 1, random);
  Silent progress;
  NullStore no_store;
  Job job{random, progress, no_store};
  const Measure found =
      frank_wolfe(*setting.learned, kernel, {{24}, at::zeros({24})}, setting.images.narrow(0, 0, 5), {}, job);
  CHECK(errors(found, setting).images.max().item<double>() < 1e-3);
}

TEST_CASE("of two images that are equal but for rounding one is kept") {
  Generator random = seeded(7);
  const auto kernel = AnalyticNtk::uniform(2, 2, 0.1);
  const Setting setting = learn(kernel, 1, 1, random);
  const Tensor other = at::rand({1, 24}, random, at::kFloat);
  Silent progress;
  FrankWolfePlan plan;
  plan.climbers = 12;
  plan.rounds = 2;
  plan.enough = 0;  // the second round begins, and the state before it is stored
  Recorder recorder;
  Job job{random, progress, recorder};
  frank_wolfe(*setting.learned, kernel, {{24}, at::zeros({24})}, at::cat({other, other + 1e-4}), plan, job);
  REQUIRE(recorder.states.size() == 1);
  const Tensor support = recorder.states.front().tensor("images");
  // Its rate is a fiftieth of a new image's: it is still near where it began.
  CHECK(at::cdist(support, other).min().item<double>() < 0.3 * at::cdist(setting.images, other).item<double>());
}

TEST_CASE("a search that adds no image ends with an empty support and the whole function unexplained") {
  Generator random = seeded(8);
  const auto kernel = AnalyticNtk::uniform(2, 2, 0.1);
  const Setting setting = learn(kernel, 3, 2, random);
  Silent progress;
  NullStore no_store;
  Job job{random, progress, no_store};
  FrankWolfePlan plan;
  plan.rounds = 0;
  const Measure found = frank_wolfe(*setting.learned, kernel, {{24}, at::zeros({24})}, {}, plan, job);
  CHECK(found.images.sizes() == at::IntArrayRef({0, 24}));
  CHECK(found.coefficients.sizes() == at::IntArrayRef({0, 2}));
  CHECK(found.residuals == std::vector<double>{1});
}

TEST_CASE("a function that is not the kernel's is not explained by a few images") {
  // The kernel of another depth, which is no combination of values of this one.
  Generator random = seeded(6);
  const Setting setting = learn(AnalyticNtk::uniform(4, 2, 0.1), 6, 1, random);
  FrankWolfePlan plan;
  plan.rounds = 12;
  Silent progress;
  NullStore no_store;
  Job job{random, progress, no_store};
  const Measure found =
      frank_wolfe(*setting.learned, AnalyticNtk::uniform(1, 2, 0.1), {{24}, at::zeros({24})}, {}, plan, job);
  CHECK(found.residuals.back() > 1e-6);
}

}  // namespace afterimage
