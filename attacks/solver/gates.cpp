#include "attacks/solver/gates.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <utility>

namespace afterimage {
namespace {

// Of |db|, left over by the fit in the column space: 1e-6 to 1e-5 where it holds, 0.6 to 0.9 where the mean of the
// training set was subtracted (MNIST, N = 20 and 50, widths 256 to 1024).
constexpr double most_left = 0.1;
// A neuron is taken to be left alone where its input is below zero by as many standard deviations, before training and
// after it. The more, the fewer fired in between; the fewer neurons are left to look at.
constexpr std::array<double, 6> margins = {0, 0.2, 0.4, 0.6, 0.8, 1};
constexpr double fewest_neurons = 2;  // for each direction
// The smallest singular value of the neurons' rows over the next: 1e-5 to 6e-4 at training images, above 0.1 at sums of
// three (MNIST, N = 20 and 50, width 1024).
constexpr double largest_ratio = 0.01, noises = 2.5, useless = 0.1;
// The next singular value at least. Where all images leave nearly the same neurons alone, as bright ones of which no
// mean was subtracted, it is 0.04 to 0.1 and the smallest is still that of one image; from 0.01 on noise is taken for
// one. To refute an image takes more.
constexpr double informative = 0.03, informative_to_refute = 0.1;
constexpr double refuting_ratio = 0.15, refuting_ratio_of_off = 0.25;
constexpr double dependent = 1e-6;
// Median over images, of the mean square of delta's sum over neurons that the image leaves alone, to that over the
// others: 0.02 to 0.12 with all training images (Fashion-MNIST, N = 20 and 50, widths 64 to 512).
constexpr double largest_share = 0.15;

// Of a set that proves its images: well below what a sum among them has.
constexpr double largest_proven_share = 0.05, least_proven = 0.75;
constexpr double least_gain = 0.01;        // of the sum of shares, by an exchange
constexpr double least_of_its_own = 0.02;  // of an image's norm, outside the span of those before it
constexpr std::int64_t most_exchanges_tried = 4000;

// The first of the rows [m, k] that are linearly independent of those before them.
std::vector<std::int64_t> independent_rows(const Tensor& rows) {
  std::vector<std::int64_t> taken;
  const Tensor basis = at::zeros({rows.size(1), rows.size(1)}, rows.options());
  for (std::int64_t i = 0; i < rows.size(0); ++i) {
    const auto count = static_cast<std::int64_t>(taken.size());
    if (count == rows.size(1)) break;
    const Tensor before = basis.narrow(0, 0, count);
    Tensor own = rows[i] - at::mv(before.t(), at::mv(before, rows[i]));
    own = own - at::mv(before.t(), at::mv(before, own));
    const double norm = own.norm().item<double>();
    if (norm <= least_of_its_own * rows[i].norm().item<double>()) continue;
    basis[count].copy_(own / norm);
    taken.push_back(i);
  }
  return taken;
}

bool is_dependent(const Tensor& rows) {
  const Tensor values = at::linalg_svdvals(rows);
  return values[-1].item<double>() < dependent * values[0].item<double>();
}

Tensor change(const TrainedNetwork& released, const std::string& name, double decay) {
  return released.trained.at(name).to(at::kDouble) - decay * released.initial.at(name).to(at::kDouble);
}

}  // namespace

BiasCondition bias_condition_of(const TrainedNetwork& released, const RowSpan& span) {
  BiasCondition condition;
  const DenseNetwork* dense = released.dense();
  if (dense == nullptr || !released.knows_initial()) return condition;
  const Tensor rows = at::mm(change(released, dense->first_weight(), span.decay), span.basis.t());
  const Tensor bias = change(released, dense->first_bias(), span.decay).unsqueeze(1);
  const double size = bias.norm().item<double>();
  if (size == 0 || rows.size(0) <= rows.size(1)) return condition;
  const Tensor normal = std::get<0>(at::linalg_lstsq(rows, bias, /*rcond=*/{}, "gels"));
  const double left = (at::mm(rows, normal) - bias).norm().item<double>();
  condition.holds = left < most_left * size;
  if (condition.holds) condition.normal = normal.squeeze(1) / dense->first_bias_scale();
  return condition;
}

std::int64_t most_images(const RowSpan& span, const BiasCondition& bias) { return span.rank + (bias.holds ? 0 : 1); }

GateTest::GateTest(const TrainedNetwork& released, const RowSpan& span, const BiasCondition& bias)
    : released_(released), basis_(span.basis) {
  const DenseNetwork& dense = *released.dense();
  rows_ = at::mm(change(released, dense.first_weight(), span.decay), span.basis.t());
  const Tensor by_bias = change(released, dense.first_bias(), span.decay).unsqueeze(1);
  if (!bias.holds && by_bias.count_nonzero().item<std::int64_t>() > 0) {
    rows_ = at::cat({rows_, by_bias}, 1);
    bias_ = dense.first_bias_scale();
  }
  constexpr double rounded_decay = 1e-4;  // from 1: rounded weights alone fit it so
  knows_bias_ = bias.holds || std::abs(span.decay - 1) < rounded_decay;
  if (static_cast<double>(rows_.size(0)) < 2 * fewest_neurons * static_cast<double>(rows_.size(1))) return;
  const auto [u, s, vh] = at::linalg_svd(rows_, /*full_matrices=*/false);
  const double noise = span.rounding * std::sqrt(static_cast<double>(rows_.size(0))) / s[-1].item<double>();
  const double needed = std::max(largest_ratio, noises * noise);
  if (!(needed < useless)) return;
  largest_ratio_ = needed;
  directions_ = u.contiguous();
  to_dual_ = at::div(vh, s.unsqueeze(1));
}

GateTest::Missing GateTest::missing(const Tensor& before, const Tensor& after, double least_next) const {
  const double deviation = before.std().item<double>();
  Missing least;
  for (const double margin : margins) {
    const Tensor alone =
        at::nonzero((before < -margin * deviation).logical_and(after < -margin * deviation)).squeeze(1);
    if (static_cast<double>(alone.numel()) < fewest_neurons * static_cast<double>(directions_.size(1))) break;
    const Tensor rows = directions_.index_select(0, alone);
    if (rows.size(1) < 2) continue;
    const auto [squares, vectors] = at::linalg_eigh(at::mm(rows.t(), rows));
    if (squares[1].item<double>() < least_next * least_next) continue;
    const double ratio = std::sqrt((squares[0].clamp_min(0) / squares[1]).item<double>());
    if (ratio < least.ratio || !least.direction.defined()) least = {ratio, vectors.select(1, 0)};
  }
  return least;
}

GateTest::Inputs GateTest::inputs_of(const Tensor& coordinates) const {
  const Tensor images = at::mm(coordinates, basis_).to(at::kFloat);
  const DenseNetwork& dense = *released_.dense();
  return {dense.first_layer_inputs(released_.initial, images), dense.first_layer_inputs(released_.trained, images)};
}

Tensor GateTest::missing_directions(const Tensor& coordinates) const {
  const auto [before, after] = inputs_of(coordinates);
  const Tensor directions = at::zeros({coordinates.size(0), rows_.size(1)}, at::kDouble);
  for (std::int64_t i = 0; i < coordinates.size(0) && applies(); ++i) {
    const Missing found = missing(before[i], after[i], informative);
    if (found.ratio < largest_ratio_) directions[i].copy_(found.direction);
  }
  return directions;
}

Tensor GateTest::extended(const Tensor& coordinates) const {
  if (rows_.size(1) == coordinates.size(1)) return coordinates;
  return at::cat({coordinates, at::full({coordinates.size(0), 1}, bias_, at::kDouble)}, 1);
}

Tensor GateTest::parts(const Tensor& directions, const Tensor& known, const Tensor& coordinates) const {
  const Tensor passed = directions.norm(2, 1) > 0;
  if (!knows_bias_ || !passed.any().item<bool>())
    return at::zeros({directions.size(0), coordinates.size(0)}, at::kDouble);
  const Tensor duals = at::mm(directions, to_dual_);
  const Tensor own = (duals * extended(known)).sum(1, /*keepdim=*/true);
  return (at::mm(duals, extended(coordinates).t()) / own).abs_().masked_fill_(~passed.unsqueeze(1), 0);
}

bool GateTest::refutes(const Tensor& coordinates, bool off) const {
  if (!applies()) return false;
  const auto [before, after] = inputs_of(coordinates.unsqueeze(0));
  const Missing found = missing(before[0], after[0], informative_to_refute);
  return found.direction.defined() &&
         found.ratio > std::max(off ? refuting_ratio_of_off : refuting_ratio, 2 * largest_ratio_);
}

Tensor GateTest::alone(const Tensor& coordinates) const {
  const auto [before, after] = inputs_of(coordinates);
  return (before < 0).logical_and(after < 0).to(at::kDouble);
}

Tensor GateTest::sums(const Tensor& extended) const { return at::linalg_solve(extended.t(), rows_.t()); }

Tensor GateTest::shares(const Tensor& sums, const Tensor& alone) {
  const Tensor some = 1 - alone.amin(0);  // [n_1]: neurons that not all images leave alone
  const Tensor squares = sums.square(), of_alone = (squares * alone).sum(1), of_rest = squares.sum(1) - of_alone;
  const Tensor count = (alone * some).sum(1), rest = (some.sum() - count).clamp_min(1);
  const Tensor shares = of_alone * rest / (of_rest * count.clamp_min(1));
  return shares.masked_fill(count < static_cast<double>(sums.size(0)), 1);
}

bool GateTest::are_all(const Tensor& coordinates) const {
  if (coordinates.size(0) != rows_.size(1)) return false;
  const Tensor images = extended(coordinates);
  if (is_dependent(images)) return false;
  return at::median(shares(sums(images), alone(coordinates))).item<double>() < largest_share;
}

// A set [k] of images among those that are given, and what it takes to exchange one of them.
struct GateTest::Chosen {
  std::vector<std::int64_t> images;
  Tensor sums, alone, shares;
  double penalty() const { return penalty_of(shares); }
  static double penalty_of(const Tensor& shares) { return shares.clamp_max(1).sum().item<double>(); }
};

bool GateTest::exchange_best(Chosen& chosen, const Tensor& images, const Tensor& alone, std::int64_t& tries,
                             Progress& progress) const {
  const Tensor taken = images.index_select(0, at::tensor(chosen.images, at::kLong));
  const Tensor combined = at::linalg_solve(taken.t(), images.t());  // [k, m]: each image as a sum of those taken
  double least = (1 - least_gain) * chosen.penalty();
  std::optional<std::pair<std::int64_t, std::int64_t>> best;
  for (std::int64_t row = 0; row < taken.size(0); ++row) {
    if (chosen.shares[row].item<double>() < largest_proven_share) continue;
    if (progress.out_of_time()) return false;
    for (std::int64_t other = 0; other < images.size(0) && tries > 0; ++other) {
      const Tensor parts = combined.select(1, other);
      const auto part = parts[row].item<double>();
      const bool is_taken = std::find(chosen.images.begin(), chosen.images.end(), other) != chosen.images.end();
      if (is_taken || std::abs(part) < least_of_its_own) continue;
      --tries;
      // The sums with `other` in the place of `row`.
      Tensor sums = at::addr(chosen.sums, parts, chosen.sums[row], 1, -1 / part);
      sums[row].copy_(chosen.sums[row] / part);
      Tensor silent = chosen.alone.clone();
      silent[row].copy_(alone[other]);
      const double penalty = Chosen::penalty_of(shares(sums, silent));
      if (penalty < least) {
        least = penalty;
        best = {row, other};
      }
    }
  }
  if (!best) return false;
  chosen.images[static_cast<std::size_t>(best->first)] = best->second;
  choose(chosen, images, alone);
  return true;
}

void GateTest::choose(Chosen& chosen, const Tensor& images, const Tensor& alone) const {
  const Tensor which = at::tensor(chosen.images, at::kLong);
  chosen.sums = sums(images.index_select(0, which));
  chosen.alone = alone.index_select(0, which);
  chosen.shares = shares(chosen.sums, chosen.alone);
}

Tensor GateTest::proven_together(const Tensor& coordinates, Progress& progress) const {
  const Tensor proven = at::zeros({coordinates.size(0)}, at::kBool), images = extended(coordinates);
  Chosen chosen{independent_rows(images), {}, {}, {}};
  if (static_cast<std::int64_t>(chosen.images.size()) < rows_.size(1)) return proven;
  const Tensor silent = alone(coordinates);
  choose(chosen, images, silent);
  // A wrong one takes those that it is a sum of with it: replacing it makes all of them right.
  for (std::int64_t tries = most_exchanges_tried; tries > 0 && exchange_best(chosen, images, silent, tries, progress);)
    continue;
  const Tensor right = chosen.shares < largest_proven_share;
  // Of a set that is mostly wrong a share may be small by chance (2 confirmed, 1 right).
  if (right.sum().item<double>() < least_proven * static_cast<double>(right.size(0))) return proven;
  for (std::int64_t row = 0; row < right.size(0); ++row) {
    if (right[row].item<bool>()) proven[chosen.images[static_cast<std::size_t>(row)]] = true;
  }
  return proven;
}

}  // namespace afterimage
