#include "attacks/solver/pixel_polytope.h"

#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <ClpSimplex.hpp>
#include <CoinPackedMatrix.hpp>
#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>
#include <utility>

#include "models/compute.h"

namespace afterimage {
namespace {

constexpr double typical_deviation = 0.3;  // of a pixel from the mean image, as a share of the range
constexpr double slack_in_deviations = 4;
constexpr double smallest_slack = 1e-6;  // below it the programme's own tolerance rules
constexpr double still_pixel = 1e-6;     // a pixel whose row of the basis is shorter does not move
constexpr double active_in_slacks = 3;
// A fit that leaves the range by more is none: training images with little weight in the first layer's change lie 2 to
// 9 slacks outside.
constexpr double most_outside_in_slacks = 20;
constexpr int refits = 4;
constexpr int most_vertices = 4;  // for one candidate
constexpr std::int64_t candidates_a_group = 16;
constexpr std::int64_t groups_at_once = 1, programmes_at_once = 4;  // a thread, between two looks at the clock
constexpr double stride_of_norm = 0.025;                            // of an image's norm
constexpr double near = 0.4;  // of the range: pixels nearer to a bound push towards it

// What rounding moves a pixel of an image in the span by, standard deviation. A basis vector k is off by e / s_k in
// each pixel, e being the noise of one weight. An image whose energy is spread evenly over the directions is moved by
// e |v| sqrt(mean 1 / s_k^2), one whose energy follows the singular values by e |v| sqrt(r) / |s|; images lie between,
// and measured deviations lie near the geometric mean (4.7e-6, 1.4e-4, 4.2e-4 for N = 20, 100, 200 where it
// gives 3.7e-6, 1.0e-4, 4.2e-4).
double rounding_of_a_pixel(const RowSpan& span, double norm) {
  double inverse = 0, energy = 0;
  for (std::int64_t k = 0; k < span.rank; ++k) {
    const double s = span.singular_values[static_cast<std::size_t>(k)];
    inverse += 1 / (s * s);
    energy += s * s;
  }
  const double rank = static_cast<double>(span.rank);
  const double even = std::sqrt(inverse / rank), following = std::sqrt(rank / energy);
  return span.rounding * norm * std::sqrt(even * following);
}

const double* data(const Tensor& tensor) { return tensor.data_ptr<double>(); }

}  // namespace

// One simplex model, used for one direction after the other. From one direction's vertex to another's is further than
// from none (90 against 53 ms a programme at N = 100), so that each starts afresh.
class PixelPolytope::Programme {
 public:
  explicit Programme(const Box& box) {
    const auto pixels = static_cast<int>(box.rows.size(0)), rank = static_cast<int>(box.rows.size(1));
    std::vector<int> row, column;
    std::vector<double> value, free_low(rank, -COIN_DBL_MAX), free_high(rank, COIN_DBL_MAX), objective(rank, 0.0);
    for (int i = 0; i < pixels; ++i) {
      for (int j = 0; j < rank; ++j) {
        row.push_back(i);
        column.push_back(j);
        value.push_back(data(box.rows)[static_cast<std::ptrdiff_t>(i) * rank + j]);
      }
    }
    const CoinPackedMatrix matrix(true, row.data(), column.data(), value.data(),
                                  static_cast<CoinBigIndex>(value.size()));
    model_.setLogLevel(0);
    model_.loadProblem(matrix, free_low.data(), free_high.data(), objective.data(), data(box.lowest),
                       data(box.highest));
    constexpr double maximise = -1;
    model_.setOptimizationDirection(maximise);
  }

  // Forgets the last vertex.
  void start_afresh() { model_.allSlackBasis(true); }

  // The vertex furthest along `direction` [r], or nothing where the programme does not end at an optimum.
  bool furthest(const double* direction, double* vertex) {
    for (int j = 0; j < model_.numberColumns(); ++j) model_.setObjectiveCoefficient(j, direction[j]);
    model_.primal();
    if (!model_.isProvenOptimal()) return false;
    std::copy_n(model_.getColSolution(), model_.numberColumns(), vertex);
    return true;
  }

 private:
  ClpSimplex model_;
};

PixelPolytope::PixelPolytope(const RowSpan& span, const ImageSpace& space, double slacks)
    : basis_(span.basis.contiguous()) {
  const double range = space.range();
  live_ = at::nonzero(basis_.norm(2, 0) > still_pixel).squeeze(1);
  box_.rows = basis_.index_select(1, live_).t().contiguous();
  const double norm = typical_deviation * range * std::sqrt(static_cast<double>(live_.numel()));
  stride_ = stride_of_norm * norm;
  slack_ = slacks * std::max(slack_in_deviations * rounding_of_a_pixel(span, norm), smallest_slack * range);
  const ImageSpace precise = space.to(at::kDouble);
  lower_ = precise.lower().index_select(0, live_);
  upper_ = precise.upper().index_select(0, live_);
  box_.lowest = (lower_ - slack_).contiguous();
  box_.highest = (upper_ + slack_).contiguous();
}

PixelPolytope::~PixelPolytope() = default;

namespace {

// Least squares over the bounds that are active at `vertex` [r]: with more of them than dimensions the slack and most
// of the rounding average out. `slack` is the unit of the misfit.
Vertex fit_bounds(const Tensor& vertex, const Tensor& rows, const Tensor& lower, const Tensor& upper,
                  double first_tolerance, double later_tolerance, double slack) {
  Vertex fit;
  fit.coordinates = vertex;
  const auto no_fit = [&] { return Vertex{vertex, 1, fit.active}; };
  Tensor triangle, left;
  for (int i = 0; i < refits; ++i) {
    const double tolerance = i == 0 ? first_tolerance : later_tolerance;
    const Tensor pixels = at::mv(rows, fit.coordinates);
    const Tensor low = (pixels - lower).abs() < tolerance, high = (pixels - upper).abs() < tolerance;
    const Tensor active = at::nonzero(low.logical_or(high)).squeeze(1);
    fit.active = active.numel();
    if (fit.active < rows.size(1)) return no_fit();
    const Tensor equations = rows.index_select(0, active);
    const Tensor targets = at::where(high, upper, lower).index_select(0, active).unsqueeze(1);
    const auto [q, r] = at::linalg_qr(equations);
    const Tensor diagonal = r.diagonal().abs();
    constexpr double singular = 1e-9;
    if (diagonal.min().item<double>() < singular * diagonal.max().item<double>()) return no_fit();
    fit.coordinates = at::linalg_solve_triangular(r, at::mm(q.t(), targets), /*upper=*/true).squeeze(1);
    fit.leverage = q.square().sum(1).max().item<double>();
    triangle = r;
    left = at::mv(equations, fit.coordinates) - targets.squeeze(1);
  }
  if (fit.leverage < largest_leverage) {
    const Tensor pixels = at::mv(rows, fit.coordinates);
    const double outside = at::maximum(lower - pixels, pixels - upper).max().item<double>();
    if (outside > most_outside_in_slacks / active_in_slacks * later_tolerance) return no_fit();
    fit.firmness = at::linalg_svdvals(triangle).min().item<double>();
    fit.misfit = left.norm().item<double>() / std::sqrt(std::max<double>(1, left.numel() - triangle.size(0))) / slack;
  }
  return fit;
}

}  // namespace

Tensor coordinates_of(const std::vector<Vertex>& vertices, std::int64_t rank) {
  const Tensor all = at::empty({static_cast<std::int64_t>(vertices.size()), rank}, at::kDouble);
  for (std::size_t i = 0; i < vertices.size(); ++i) {
    all.select(0, static_cast<std::int64_t>(i)).copy_(vertices[i].coordinates);
  }
  return all;
}

// The sum of the normals of the bounds that the pixels of one image [r] are near, each by how near: [r].
Tensor PixelPolytope::outward(const Tensor& coordinates) const {
  const Tensor pixels = at::mv(box_.rows, coordinates), range = upper_ - lower_;
  const Tensor up = (1 - (upper_ - pixels) / (near * range)).clamp(0, 1);
  const Tensor down = (1 - (pixels - lower_) / (near * range)).clamp(0, 1);
  return at::mv(box_.rows.t(), up - down);
}

namespace {

// As many vertices that lead nowhere.
std::vector<Vertex> no_vertices(std::int64_t count, std::int64_t rank) {
  Vertex none;
  none.coordinates = at::zeros({rank}, at::kDouble);
  return std::vector<Vertex>(static_cast<std::size_t>(count), none);
}

// `work` for each of `count` parts and the number of its thread, `at_once` a thread between two calls of `look` with
// how many are done.
template <class Work, class Look>
void each_on_a_thread(std::int64_t count, std::int64_t at_once, const Work& work, const Look& look) {
  const std::int64_t threads = at::get_num_threads();
  for (std::int64_t first = 0; first < count; first += threads * at_once) {
    const std::int64_t end = std::min(count, first + threads * at_once);
    std::atomic<std::int64_t> next = first;
    at::parallel_for(0, threads, 1, [&](std::int64_t begin, std::int64_t last) {
      for (std::int64_t thread = begin; thread < last; ++thread) {
        for (std::int64_t i = next++; i < end; i = next++) work(i, thread);
      }
    });
    look(end);
  }
}

}  // namespace

Vertex PixelPolytope::refit_one(const Tensor& coordinates, double slacks) const {
  return fit_bounds(coordinates, box_.rows, lower_, upper_, slacks * slack_, active_in_slacks * slack_, slack_);
}

std::vector<Vertex> PixelPolytope::refit(const Tensor& coordinates, double slacks) const {
  std::vector<Vertex> found;
  for (std::int64_t i = 0; i < coordinates.size(0); ++i) found.push_back(refit_one(coordinates[i], slacks));
  return found;
}

void PixelPolytope::snap_group(const Tensor& candidates, Vertex* found) const {
  Tensor points = candidates;
  std::vector<std::int64_t> rows(static_cast<std::size_t>(points.size(0)));  // of the candidates, for each point
  std::iota(rows.begin(), rows.end(), 0);
  for (int vertices = 0; vertices < most_vertices && !rows.empty(); ++vertices) {
    Tensor directions = at::empty_like(points);
    for (std::int64_t i = 0; i < points.size(0); ++i) directions[i].copy_(outward(points[i]));
    const Tensor led_to = furthest_by_splitting(box_, points, directions, stride_, slack_);
    std::vector<std::int64_t> going, going_rows;
    for (std::int64_t i = 0; i < points.size(0); ++i) {
      const std::int64_t row = rows[static_cast<std::size_t>(i)];
      found[row] = refit_one(led_to[i], active_in_slacks);
      const bool stays = at::mv(box_.rows, led_to[i] - points[i]).abs().max().item<double>() < slack_;
      if (found[row].leverage < largest_leverage || stays) continue;
      going.push_back(i);
      going_rows.push_back(row);
    }
    points = led_to.index_select(0, at::tensor(going, at::kLong));
    rows = std::move(going_rows);
  }
}

std::vector<Vertex> PixelPolytope::snap(const Tensor& candidates, Progress& progress) const {
  const c10::NoGradGuard no_gradients;
  const SerialProducts serial;
  const Tensor starts = candidates.to(at::kDouble).contiguous();
  const std::int64_t count = starts.size(0), groups = (count + candidates_a_group - 1) / candidates_a_group;
  std::vector<Vertex> found = no_vertices(count, rank());
  each_on_a_thread(
      groups, groups_at_once,
      [&](std::int64_t group, std::int64_t) {
        const std::int64_t first = group * candidates_a_group;
        snap_group(starts.narrow(0, first, std::min(candidates_a_group, count - first)), found.data() + first);
      },
      [&](std::int64_t done) { progress.step(std::min(count, done * candidates_a_group), count, "vertices"); });
  return found;
}

std::vector<Vertex> PixelPolytope::snap_along(const Tensor& directions, Progress& progress) {
  const c10::NoGradGuard no_gradients;
  const Tensor objectives = directions.to(at::kDouble).contiguous();
  const std::int64_t count = objectives.size(0);
  std::vector<Vertex> found = no_vertices(count, rank());
  Tensor vertices = at::zeros_like(objectives);
  programmes_.resize(std::max(programmes_.size(), static_cast<std::size_t>(at::get_num_threads())));
  {
    const SerialProducts serial;
    each_on_a_thread(
        count, programmes_at_once,
        [&](std::int64_t i, std::int64_t thread) {
          auto& programme = programmes_[static_cast<std::size_t>(thread)];
          if (!programme) programme = std::make_unique<Programme>(box_);
          programme->start_afresh();
          if (!programme->furthest(data(objectives[i]), vertices[i].data_ptr<double>())) return;
          found[static_cast<std::size_t>(i)] = refit_one(vertices[i], active_in_slacks);
        },
        [&](std::int64_t done) { progress.step(done, count, "linear programmes"); });
  }
  std::vector<std::int64_t> going;
  for (std::int64_t i = 0; i < count; ++i) {
    const Vertex& vertex = found[static_cast<std::size_t>(i)];
    const bool ended = vertex.active > 0;  // the programme, at a vertex
    if (ended && vertex.leverage >= largest_leverage) going.push_back(i);
  }
  std::vector<Vertex> led_to = snap(vertices.index_select(0, at::tensor(going, at::kLong)), progress);
  for (std::size_t i = 0; i < going.size(); ++i) found[static_cast<std::size_t>(going[i])] = std::move(led_to[i]);
  return found;
}

}  // namespace afterimage
