#include "attacks/solver/deflation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "attacks/solver/combination.h"
#include "attacks/solver/fit.h"
#include "attacks/solver/one_hot_rows.h"

namespace afterimage {
namespace {

constexpr double fit_tolerance = 0.08;  // of |f| from its target: vertices on an image come within 0.03
// Relative distance within which two finds are the same image: beside an image there are often vertices that pass for
// it, 0.1 to 0.3 away; two training images of MNIST or Fashion-MNIST are 0.34 apart at the least (N up to 500).
constexpr double same_image = 0.3;
constexpr double leads_to_known = 0.5;  // a candidate this near to a known image leads to it
// Where two images are missing, a point between them can have bounds that agree as well as an image's, but determine it
// a thousand times less firmly in some direction (N = 20: 8e-5 where images have 0.28; N = 100: 1e-3 to 0.1, all
// images).
constexpr double least_relative_firmness = 0.01;
constexpr std::int64_t fewest_to_compare_with = 8;
// Images whose pixels are off most lie 2 to 9 slacks outside at the largest. Beyond this share of the pixel range
// bounds agree by chance: with 1.5e-3 at N = 100, 5 of 100 confirmed images were wrong.
constexpr double wide_slacks = 5, largest_wide_slack = 7e-4;
// Where the slack itself is larger, a pixel of one 255th counts as black, and bounds that agree are no proof unless
// the misfit is as small as rounding leaves it: 0.05 to 0.7 slacks at 98 % of training images, 0.9 to 1.3 at
// vertices that are none (Fashion-MNIST, N = 200).
constexpr double largest_misfit = 0.8;
// The same holds once slack was widened: images that lie 2 to 9 of the narrow slacks outside at their worst pixel are
// off by a few in the mean. (Fashion-MNIST, N = 20: 0.78 and 1.0 at two vertices 0.3 and 0.7 from the nearest image.)
constexpr double largest_wide_misfit = 0.6;
// From this slack on (three of them are a quarter of a 255th), a vertex with a bound that others hardly support needs a
// still smaller misfit: at Fashion-MNIST, N = 100, 0.1 at two on an image and 0.7 to 1.5 at 32 others,
// 0.06 to 0.7 from one. (MNIST, N = 100: of 793 confirmed vertices two are of this kind, with 0.55 at one 0.3 off, 1.07
// at an image.)
constexpr double mild_slack = 3e-4, well_supported = 0.9, largest_weak_misfit = 0.3;
constexpr double no_limit = std::numeric_limits<double>::infinity();
constexpr double accepted_slacks = 3;  // within which a bound is active at an image that another attack confirmed
constexpr std::int64_t sweep_batch = 40, smallest_sweep_batch = 8, offer_batch = 32;
// Directions in a row that lead nowhere, times dimensions: programmes are cheap where those are few.
constexpr std::int64_t most_fruitless_in_dimensions = 4000;
constexpr std::int64_t most_fruitless = 48;  // candidates in a row that lead nowhere: those after them weigh even less
constexpr double least_norm = 0.1;           // of the median candidate: shorter ones lead nowhere
// Of the condition that the bias sets, 1 at training images: -1 at the negative of one, which lies in the range as well
// where that is symmetric about the mean.
constexpr double least_by_bias = 0.25, most_from_usual = 0.25;
constexpr std::int64_t fewest_for_a_median = 3;
// Of the weights' root mean square: training in float32 leaves 1e-7 to 3e-6, float16 2e-4, bfloat16 2e-3.
constexpr double of_training_in_float32 = 3e-5;
constexpr double largest_part = 0.15;      // of a known image in another one
constexpr double same_direction = 0.9;     // cosine
constexpr double two_valued_share = 0.98;  // of the pixels that the span moves
// Fewer prove sums of images together as well (32 neurons, 20 rows of a table: 2 of 7 were wrong).
constexpr std::int64_t neurons_a_dimension = 3;
constexpr double least_contrast = 0.1;  // of the pixel range: a blank image lies in many spans and is no find

}  // namespace

Deflation::Deflation(const Subject& subject, const RowSpan& span, double leverage)
    : subject_(subject),
      span_(span),
      polytope_(std::make_unique<PixelPolytope>(span, subject.space)),
      size_(subject.space, polytope_->basis()),
      leverage_(leverage),
      known_(at::zeros({0, span.rank}, at::kDouble)),
      known_leverage_(at::zeros({0}, at::kDouble)),
      known_firmness_(at::zeros({0}, at::kDouble)),
      known_active_(at::zeros({0}, at::kLong)),
      known_directions_(at::zeros({0, 1}, at::kDouble)),
      doubtful_(at::zeros({0, span.rank}, at::kDouble)),
      unfitted_(at::zeros({0, span.rank}, at::kDouble)) {
  const TrainedNetwork* released = subject.trained_network();
  if (released == nullptr || released->dense() == nullptr || !released->knows_initial()) return;
  bias_ = bias_condition_of(*released, span);
  gates_.emplace(*released, span, bias_);
  known_directions_ = gates_->missing_directions(known_);
}

Tensor Deflation::known_images() const { return at::mm(known_, polytope_->basis()).to(at::kFloat); }

std::int64_t Deflation::sweep(std::int64_t most, Generator& random, Progress& progress) {
  if (missing() > most_missing_for_a_sweep) return 0;
  const std::int64_t before = found();
  std::int64_t fruitless = 0;
  for (std::int64_t left = most; left > 0 && missing() > 0 && !progress.out_of_time();) {
    // Fewer where few are missing: what is found first narrows the directions for what comes after.
    const std::int64_t batch = std::min(left, std::clamp(2 * missing(), smallest_sweep_batch, sweep_batch));
    left -= batch;
    const Tensor directions = unknown_directions(batch, random);
    const std::int64_t found_new = take_all(polytope_->snap_along(directions, progress), progress);
    fruitless = found_new > 0 ? 0 : fruitless + batch;
    if (fruitless < std::min(most_fruitless_in_dimensions / rank(), most / 2)) continue;
    if (sweep_beside_known(random, progress) == 0) {
      if (!widen()) break;
      take_last(progress);
    }
    fruitless = 0;
  }
  return found() - before;
}

Tensor Deflation::unknown_directions(std::int64_t count, Generator& random) const {
  Tensor any = at::randn({count, rank()}, random, at::kDouble);
  if (found() == 0) return any;
  const auto [q, r] = at::linalg_qr(known_.t());
  const Tensor unknown = any - at::mm(at::mm(any, q), q.t());
  // With one or two dimensions unknown there are few such directions: a part of the known ones varies them.
  const Tensor part = at::rand({count, 1}, random, at::kDouble),
               other = at::randn({count, rank()}, random, at::kDouble);
  const Tensor length = unknown.norm(2, 1, true).clamp_min(std::numeric_limits<double>::min());
  return unknown / length + part * other / other.norm(2, 1, true);
}

std::int64_t Deflation::sweep_beside_known(Generator& random, Progress& progress) {
  const Tensor order = at::randperm(found(), random, at::kLong);
  for (std::int64_t first = 0; first < order.numel() && !progress.out_of_time(); first += sweep_batch) {
    const Tensor some = order.narrow(0, first, std::min(sweep_batch, order.numel() - first));
    const Tensor images = known_.index_select(0, some), directions = unknown_directions(some.size(0), random);
    const Tensor beside = images + directions * (images.norm(2, 1, true) / directions.norm(2, 1, true));
    if (const std::int64_t found_new = take_all(polytope_->snap(beside, progress), progress); found_new > 0)
      return found_new;
  }
  return 0;
}

bool Deflation::widen() {
  if (wide_ || wide_slacks * polytope_->slack() > largest_wide_slack * subject_.space.range()) return false;
  wide_ = true;
  polytope_ = std::make_unique<PixelPolytope>(span_, subject_.space, wide_slacks);
  return true;
}

// [K] from each known image.
Tensor Deflation::distances(const Tensor& coordinates) const { return size_.relative_distances(known_, coordinates); }

bool Deflation::is_known(const Tensor& coordinates, double within) const {
  return (distances(coordinates) < within).any().item<bool>();
}

void Deflation::keep(Tensor& others, const Tensor& coordinates) const {
  const bool resembles = (size_.relative_distances(others, coordinates) < same_image).any().item<bool>();
  if (!resembles) others = at::cat({others, coordinates.unsqueeze(0)});
}

Tensor Deflation::doubtful_images() const {
  std::vector<Tensor> images{at::zeros({0, rank()}, at::kDouble)};
  for (std::int64_t i = 0; i < doubtful_.size(0); ++i) {
    if (!is_known(doubtful_[i], same_image)) images.push_back(doubtful_.narrow(0, i, 1));
  }
  if (found() == 0) images.push_back(unfitted_);
  return at::mm(at::cat(images), polytope_->basis()).to(at::kFloat);
}

Claim Deflation::claim(const Tensor& others) const {
  Claim claim;
  claim.images = at::cat({known_images(), doubtful_images(), others});
  claim.confirmed = at::arange(claim.images.size(0)) < found();
  return claim;
}

void Deflation::accept(const Tensor& images) {
  if (!images.defined()) return;
  const Tensor coordinates = at::mm(images.to(at::kDouble), polytope_->basis().t());
  for (std::int64_t i = 0; i < coordinates.size(0); ++i) {
    if (is_known(coordinates[i], same_image)) continue;
    add(coordinates[i], polytope_->refit(coordinates.narrow(0, i, 1), accepted_slacks).front());
  }
}

void Deflation::add(const Tensor& coordinates, const Vertex& fit) {
  known_ = at::cat({known_, coordinates.unsqueeze(0)});
  known_leverage_ = at::cat({known_leverage_, at::full({1}, fit.leverage, at::kDouble)});
  known_firmness_ = at::cat({known_firmness_, at::full({1}, fit.firmness, at::kDouble)});
  known_active_ = at::cat({known_active_, at::full({1}, fit.active, at::kLong)});
  known_directions_ = at::cat({known_directions_, missing_direction(coordinates).unsqueeze(0)});
}

void Deflation::retain(const Tensor& which) {
  const Tensor kept = at::nonzero(which).squeeze(1);
  known_ = known_.index_select(0, kept);
  known_leverage_ = known_leverage_.index_select(0, kept);
  known_firmness_ = known_firmness_.index_select(0, kept);
  known_active_ = known_active_.index_select(0, kept);
  known_directions_ = known_directions_.index_select(0, kept);
}

std::int64_t Deflation::fewest_active() const { return found() == 0 ? 0 : known_active_.min().item<std::int64_t>(); }

std::int64_t Deflation::take(const std::vector<Vertex>& vertices) {
  const Tensor images = at::mm(coordinates_of(vertices, rank()), polytope_->basis());
  const Tensor fits = fitted(subject_, images.to(at::kFloat), fit_tolerance);
  // The smallest leverage first, so that of two near each other the better is kept.
  std::vector<std::size_t> order(vertices.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return vertices[a].leverage < vertices[b].leverage; });
  const double slack = polytope_->slack() / subject_.space.range();
  const auto most_misfit = [&](double leverage) {
    if (slack > largest_wide_slack) return largest_misfit;
    if (wide_) return largest_wide_misfit;
    return slack > mild_slack && leverage > well_supported ? largest_weak_misfit : no_limit;
  };
  const std::int64_t before = found();
  for (const auto i : order) {
    const Vertex& vertex = vertices[i];
    if (vertex.leverage > leverage_) break;
    const Tensor pixels = subject_.space.pixels(at::mv(polytope_->basis().t(), vertex.coordinates));
    const double contrast = (pixels.max() - pixels.min()).item<double>();
    if (contrast < least_contrast * (subject_.space.high - subject_.space.low)) continue;
    if (vertex.firmness < least_firmness() || !meets_bias(vertex) || !is_possible(vertex.coordinates)) continue;
    if (fits.defined() && !fits[static_cast<std::int64_t>(i)].item<bool>()) {
      if (found() == 0) keep(unfitted_, vertex.coordinates);
      continue;
    }
    // Outputs are no evidence then, and bounds agree at sums of images too: of 10 confirmed 4 were right.
    const bool refuted = !fits.defined() && gates_ && gates_->refutes(vertex.coordinates);
    const bool unproven = refuted || ((is_two_valued(vertex) || has_rounded_weights()) &&
                                      (!is_proven_by_gates(vertex.coordinates) || may_stand_for(vertex.coordinates)));
    if (unproven || vertex.misfit > most_misfit(vertex.leverage)) {
      keep(doubtful_, vertex.coordinates);
      continue;
    }
    if (is_known(vertex.coordinates, same_image)) {
      improve(vertex);
    } else if (is_combination_of_known(vertex.coordinates) || has_part_of_known(vertex.coordinates)) {
      keep(doubtful_, vertex.coordinates);
    } else if (missing() > 0) {
      add(vertex.coordinates, vertex);
    }
  }
  // Of the first few some may have been taken before there were others to compare them with.
  const Tensor stays = (known_firmness_ >= least_firmness()).logical_or(known_leverage_ > leverage_);
  retain(stays);
  drop_mixtures();
  return found() - before;
}

std::int64_t Deflation::take_proven_together(Progress& progress) {
  const Tensor likely = at::cat({doubtful_, unfitted_});
  const std::int64_t before = found(), all = before + likely.size(0);
  if (!gates_ || !gates_->knows_bias() || missing() == 0 || all == likely_tried_) return 0;
  if (gates_->neurons() < neurons_a_dimension * rank()) return 0;
  likely_tried_ = all;
  const Tensor proven = gates_->proven_together(at::cat({known_, likely}), progress).slice(0, before);
  for (std::int64_t i = 0; i < likely.size(0); ++i) {
    if (!proven[i].item<bool>() || is_known(likely[i], same_image) || missing() == 0) continue;
    if (!is_possible(likely[i])) continue;
    add(likely[i], polytope_->refit(likely.narrow(0, i, 1), accepted_slacks).front());
  }
  return found() - before;
}

bool Deflation::is_possible(const Tensor& coordinates) const {
  const Tensor image = at::mv(polytope_->basis().t(), coordinates).unsqueeze(0);
  return are_possible(subject_.space, image).item<bool>();
}

bool Deflation::meets_bias(const Vertex& vertex) const {
  if (!bias_.holds) return true;
  const double value = at::dot(bias_.normal, vertex.coordinates).item<double>();
  if (found() < fewest_for_a_median) {
    // A sum of two images that share no pixel is a vertex as well, with 2.
    return value > least_by_bias && (!is_two_valued(vertex) || value < 1 + most_from_usual);
  }
  // The bias may have had a learning rate of its own.
  const double usual = at::mv(known_, bias_.normal).median().item<double>();
  return std::abs(value - usual) < most_from_usual * std::abs(usual);
}

bool Deflation::is_combination_of_known(const Tensor& coordinates) const {
  // With rank images known, the last one is a combination of them where the mean of all was subtracted.
  return found() < rank() && is_combination(known_, coordinates);
}

bool Deflation::is_two_valued(const Vertex& vertex) const {
  if (!subject_.space.one_hot.empty() || subject_.space.levels.size() == 2) return true;
  return static_cast<double>(vertex.active) > two_valued_share * static_cast<double>(polytope_->live_pixels());
}

bool Deflation::may_stand_for(const Tensor& coordinates) const {
  if (subject_.space.one_hot.empty()) return subject_.space.levels.size() == 2;
  const Tensor basis = polytope_->basis().to(at::kDouble);
  const Tensor rows = rows_near(subject_.space, basis, at::mv(basis.t(), coordinates));
  if (rows.size(0) == 0) return false;
  const Tensor others = gates_->missing_directions(at::mm(rows, basis.t()));
  return (at::mv(others, missing_direction(coordinates)).abs() > same_direction).any().item<bool>();
}

bool Deflation::has_rounded_weights() const { return gates_ && span_.relative_rounding > of_training_in_float32; }

Tensor Deflation::missing_direction(const Tensor& coordinates) const {
  return gates_ ? gates_->missing_directions(coordinates.unsqueeze(0)).squeeze(0) : at::zeros({1}, at::kDouble);
}

bool Deflation::is_proven_by_gates(const Tensor& coordinates) const {
  const Tensor direction = missing_direction(coordinates);
  if (direction.count_nonzero().item<std::int64_t>() == 0) return false;
  if (gates_->knows_bias()) return true;  // parts of known images tell which it stands for
  const Tensor alike = at::mv(known_directions_, direction).abs() > same_direction;
  return at::logical_or(~alike, distances(coordinates) < same_image).all().item<bool>();
}

Tensor Deflation::parts_of_known(const Tensor& coordinates) const {
  if (!gates_) return at::zeros({found(), coordinates.size(0)}, at::kDouble);
  return gates_->parts(known_directions_, known_, coordinates);
}

bool Deflation::complete() const {
  if (missing() > 0 || !gates_ || !gates_->are_all(known_)) return false;
  return (parts_of_known(known_).fill_diagonal_(0) < largest_part).all().item<bool>();
}

bool Deflation::has_part_of_known(const Tensor& coordinates) const {
  const Tensor image = coordinates.unsqueeze(0), parts = parts_of_known(image).squeeze(1);
  const Tensor mixed = parts > largest_part;
  if (!mixed.any().item<bool>()) return false;
  // Where the known one is itself a part of this image's training image, this is the purer of the two.
  const Tensor of_this = gates_->parts(missing_direction(coordinates).unsqueeze(0), image, known_).squeeze(0);
  return mixed.logical_and(~(of_this > largest_part).logical_and(parts > 1)).any().item<bool>();
}

void Deflation::drop_mixtures() {
  const Tensor parts = parts_of_known(known_).fill_diagonal_(0), mixed = parts > largest_part;
  // Of two that stand for one training image, the one with more of it stays.
  const Tensor same = mixed.logical_and(mixed.t());
  const Tensor dropped = mixed.logical_and(~same).any(0).logical_or(same.logical_and(parts < 1).any(0));
  for (std::int64_t i = 0; i < dropped.numel(); ++i) {
    if (dropped[i].item<bool>()) keep(doubtful_, known_[i]);
  }
  retain(~dropped);
}

double Deflation::least_firmness() const {
  if (found() < fewest_to_compare_with) return 0;
  return least_relative_firmness * known_firmness_.median().item<double>();
}

void Deflation::improve(const Vertex& vertex) {
  const auto nearest = distances(vertex.coordinates).argmin().item<std::int64_t>();
  if (vertex.leverage >= known_leverage_[nearest].item<double>()) return;
  known_.select(0, nearest).copy_(vertex.coordinates);
  known_leverage_[nearest] = vertex.leverage;
  known_firmness_[nearest] = vertex.firmness;
  known_active_[nearest] = vertex.active;
  known_directions_.select(0, nearest).copy_(missing_direction(vertex.coordinates));
}

std::int64_t Deflation::offer(const Tensor& candidates, Progress& progress, StateStore& store) {
  const std::int64_t before = found();
  const Tensor norms = candidates.norm(2, 1);
  const double least = candidates.size(0) > 0 ? least_norm * norms.median().item<double>() : 0;
  std::int64_t fruitless = 0, next = 0;
  if (const State kept = store.take(); !kept.empty()) {
    restore(kept);
    fruitless = kept.whole("fruitless");
    next = kept.whole("next");
  }
  while (next < candidates.size(0) && fruitless < most_fruitless && missing() > 0 && !progress.out_of_time()) {
    std::vector<Tensor> worth;
    for (; next < candidates.size(0) && static_cast<std::int64_t>(worth.size()) < offer_batch; ++next) {
      if (norms[next].item<double>() > least && !is_known(candidates[next], leads_to_known))
        worth.push_back(candidates[next]);
    }
    if (worth.empty()) break;
    const std::int64_t found_new = take_all(polytope_->snap(at::stack(worth), progress), progress);
    fruitless = found_new > 0 ? 0 : fruitless + static_cast<std::int64_t>(worth.size());
    if (store.due()) store.keep(state().set("fruitless", fruitless).set("next", next));
  }
  return found() - before;
}

void Deflation::restore(const State& state) {
  known_ = state.tensor("known");
  known_leverage_ = state.tensor("known_leverage");
  known_firmness_ = state.tensor("known_firmness");
  doubtful_ = state.tensor("doubtful");
  likely_tried_ = state.whole("likely_tried");
  unfitted_ = state.tensor("unfitted");
  known_active_ = state.tensor("known_active");
  known_directions_ = gates_ ? gates_->missing_directions(known_) : at::zeros({found(), 1}, at::kDouble);
  if (state.whole("wide") != 0) widen();
}

std::int64_t Deflation::take_all(const std::vector<Vertex>& vertices, Progress& progress) {
  const std::int64_t taken = take(vertices), proven = take_proven_together(progress);
  return taken + proven + take_last(progress);
}

std::int64_t Deflation::take_last(Progress& progress) {
  if (found() != rank()) return 0;
  const Tensor last = -known_.sum(0, true);
  const std::int64_t taken = take(polytope_->refit(last, accepted_slacks * std::sqrt(static_cast<double>(found()))));
  return taken > 0 ? taken : take(polytope_->snap(last, progress));
}

}  // namespace afterimage
