#include "models/eigen_maps.h"

#include <catch2/catch.hpp>

namespace afterimage {

TEST_CASE("a map sees a tensor's own numbers, row by row, and writes to them") {
  const Tensor matrix = at::arange(6, at::kDouble).view({2, 3});
  const auto map = eigen_map(matrix);
  REQUIRE(map.rows() == 2);
  REQUIRE(map.cols() == 3);
  CHECK(map(1, 0) == 3);
  eigen_map(matrix)(0, 2) = -7;
  CHECK(matrix[0][2].item<double>() == -7);
  const Tensor product = at::empty({2, 2}, at::kDouble);
  eigen_map(product) = map * map.transpose();
  CHECK(at::allclose(product, at::mm(matrix, matrix.t())));
}

TEST_CASE("a tensor that is not a contiguous float64 matrix has no map") {
  const Tensor matrix = at::zeros({2, 3}, at::kDouble);
  CHECK_THROWS_AS(eigen_map(matrix.t()), std::invalid_argument);
  CHECK_THROWS_AS(eigen_map(matrix.to(at::kFloat)), std::invalid_argument);
  CHECK_THROWS_AS(eigen_map(matrix[0]), std::invalid_argument);
}

}  // namespace afterimage
