#include "attacks/scoring/similarity.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <stdexcept>

namespace afterimage {
namespace {

// Pixels as rough as noise, by a formula: [1, h, w, c] in [0, 1].
Tensor rough(std::int64_t height, std::int64_t width, std::int64_t channels, std::int64_t variant) {
  Tensor image = at::empty({1, height, width, channels}, at::kDouble);
  auto pixels = image.accessor<double, 4>();
  for (std::int64_t i = 0; i < height; ++i)
    for (std::int64_t j = 0; j < width; ++j)
      for (std::int64_t k = 0; k < channels; ++k) {
        const auto value = 7 * i * i + 13 * j + 5 * i * j + 11 * k + variant * (i + 2 * j + 3 * k * k);
        pixels[0][i][j][k] = static_cast<double>(value % 97) / 96;
      }
  return image;
}

// Gentle waves: [1, h, w] in [0, 1].
Tensor waves(std::int64_t height, std::int64_t width, double variant) {
  Tensor image = at::empty({1, height, width}, at::kDouble);
  auto pixels = image.accessor<double, 3>();
  for (std::int64_t i = 0; i < height; ++i)
    for (std::int64_t j = 0; j < width; ++j) {
      const double y = static_cast<double>(i), x = static_cast<double>(j);
      pixels[0][i][j] = 0.5 + 0.5 * std::sin(0.3 * y + 0.1 * variant) * std::cos(0.2 * x * (1 + 0.1 * variant));
    }
  return image;
}

double ssim_of(const Tensor& a, const Tensor& b) { return ssim(a, b).item<double>(); }

}  // namespace

// skimage.metrics.structural_similarity(a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
// data_range=1), which leaves out the border where the window does not fit.
TEST_CASE("structural similarity is scikit-image's") {
  const auto close = [](double expected) { return Approx(expected).epsilon(1e-10); };
  CHECK(ssim_of(rough(28, 28, 1, 0).squeeze(3), rough(28, 28, 1, 3).squeeze(3)) == close(0.017957005241847054));
  CHECK(ssim_of(waves(28, 28, 0), waves(28, 28, 1)) == close(0.918857973874055));
  CHECK(ssim_of(waves(20, 31, 0), waves(20, 31, 2)) == close(0.6810854076230405));
  CHECK(ssim_of(waves(11, 11, 0), waves(11, 11, 3)) == close(0.904901622808159));
  const Tensor colour = rough(16, 24, 3, 0);
  CHECK(ssim_of(colour, 0.7 * colour + 0.3 * rough(16, 24, 3, 1)) == close(0.8343383456580379));
}

TEST_CASE("structural similarity of constant images is only the luminance term") {
  const double dark = 0.2, bright = 0.6, c1 = 1e-4;
  const Tensor a = at::full({1, 12, 12}, dark, at::kDouble), b = at::full({1, 12, 12}, bright, at::kDouble);
  CHECK(ssim_of(a, b) == Approx((2 * dark * bright + c1) / (dark * dark + bright * bright + c1)).epsilon(1e-10));
}

TEST_CASE("structural similarity is one for equal images, symmetric, and never above one") {
  Generator random = seeded(GENERATE(range(0u, 8u)));
  const auto shape = GENERATE(std::vector<std::int64_t>{6, 28, 28}, std::vector<std::int64_t>{6, 16, 13, 3},
                              std::vector<std::int64_t>{6, 4, 9}, std::vector<std::int64_t>{6, 1, 1});
  const Tensor a = at::rand(shape, random, at::kFloat), b = at::rand(shape, random, at::kFloat);
  CHECK(at::equal(ssim(a, a), at::ones({6}, at::kDouble)));
  CHECK(at::equal(ssim(a, b), ssim(b, a)));
  CHECK((ssim(a, b) < 1).all().item<bool>());
  CHECK((ssim(a, b) > -1).all().item<bool>());
}

TEST_CASE("structural similarity of a batch is that of each pair") {
  Generator random = seeded(3);
  const Tensor a = at::rand({4, 15, 17, 2}, random, at::kFloat), b = at::rand({4, 15, 17, 2}, random, at::kFloat);
  const Tensor all = ssim(a, b);
  CHECK(all.scalar_type() == at::kDouble);
  for (std::int64_t k = 0; k < 4; ++k)
    CHECK(ssim_of(a.slice(0, k, k + 1), b.slice(0, k, k + 1)) == Approx(all[k].item<double>()).epsilon(1e-12));
  CHECK(ssim(a.slice(0, 0, 0), b.slice(0, 0, 0)).size(0) == 0);
}

TEST_CASE("structural similarity refuses shapes that do not fit") {
  CHECK_THROWS_AS(ssim(at::rand({2, 12, 12}), at::rand({2, 12, 13})), std::invalid_argument);
  CHECK_THROWS_AS(ssim(at::rand({2, 144}), at::rand({2, 144})), std::invalid_argument);
  CHECK_THROWS_AS(ssim(at::rand({2, 0, 12}), at::rand({2, 0, 12})), std::invalid_argument);
}

TEST_CASE("distances are the root of the summed squared differences") {
  Generator random = seeded(5);
  const Tensor a = at::randn({7, 33}, random, at::kFloat), b = at::randn({9, 33}, random, at::kFloat);
  const Tensor measured = distances(a, b);
  REQUIRE(measured.sizes() == at::IntArrayRef({7, 9}));
  CHECK(measured.scalar_type() == at::kDouble);
  for (std::int64_t i = 0; i < 7; ++i)
    for (std::int64_t j = 0; j < 9; ++j) {
      double sum = 0;
      for (std::int64_t k = 0; k < 33; ++k) sum += std::pow(a[i][k].item<double>() - b[j][k].item<double>(), 2);
      CHECK(measured[i][j].item<double>() == Approx(std::sqrt(sum)).epsilon(1e-13));
    }
}

TEST_CASE("equal rows have distance exactly zero, and rows that differ in one bit do not") {
  Generator random = seeded(6);
  const Tensor rows = 1e3 * at::randn({60, 784}, random, at::kFloat);
  CHECK((distances(rows, rows).diagonal() == 0).all().item<bool>());
  Tensor moved = rows.clone();
  moved[3][700] = std::nextafter(moved[3][700].item<float>(), 1e9f);
  CHECK(distances(rows, moved)[3][3].item<double>() > 0);
}

TEST_CASE("distances between no rows are empty, and between rows of two lengths are refused") {
  CHECK(distances(at::rand({3, 4}), at::rand({0, 4})).sizes() == at::IntArrayRef({3, 0}));
  CHECK_THROWS_AS(distances(at::rand({3, 4}), at::rand({3, 5})), std::invalid_argument);
  CHECK_THROWS_AS(distances(at::rand({3}), at::rand({3})), std::invalid_argument);
}

}  // namespace afterimage
