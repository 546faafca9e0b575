#include "attacks/solver/path_points.h"

#include <stdexcept>

#include "attacks/solver/fit.h"
#include "models/tangent/flow.h"

namespace afterimage {
namespace {

// Rows of the kernel of what is held, for each image, output and point one: four such kernels in float64, 2 GiB.
constexpr std::int64_t largest_held = 8000;

}  // namespace

std::int64_t held_points(const TrainedNetwork& released, std::int64_t known) {
  const std::int64_t at_a_point = known * released.network->outputs();
  return at_a_point * points_of_path <= largest_held ? points_of_path : at_a_point <= largest_held ? 1 : 0;
}

std::vector<Parameters> path_points(const Subject& subject, const Parameters& initial, const Parameters& trained,
                                    const Tensor& known, const std::vector<std::size_t>& segments) {
  const auto& released = std::get<TrainedNetwork>(subject.released);
  if (held_points(released, known.size(0)) < points_of_path) return {initial};
  const auto straight = [&] {
    std::vector<double> along;
    const std::size_t parts = segments.size() + 1;
    for (std::size_t i = 0; i <= parts; ++i) along.push_back(static_cast<double>(i) / static_cast<double>(parts));
    return points_between(initial, trained, along);
  };
  if (subject.loss != LossKind::squared || released.some_unchanged()) return straight();
  std::vector<Parameters> path;
  try {
    const DenseNetwork& network = *released.dense();
    path = gradient_flow(network, initial, known, fitted_targets(network.evaluate(trained, known)));
  } catch (const std::runtime_error&) {
    return straight();
  }
  const Parameters followed = path.back().minus(initial), missed = trained.minus(path.back());
  const double length = followed.squared_norm();
  if (!(length > 0)) return straight();
  std::vector<Parameters> points{initial};
  for (const std::size_t k : segments) {
    points.push_back(path[k].plus(missed, path[k].minus(initial).inner(followed) / length));
  }
  points.push_back(trained);
  return points;
}

}  // namespace afterimage
