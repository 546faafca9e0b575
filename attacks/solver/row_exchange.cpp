#include "attacks/solver/row_exchange.h"

#include <fmt/format.h>

#include <algorithm>

#include "attacks/solver/one_hot_rows.h"
#include "attacks/solver/path_points.h"

namespace afterimage {
namespace {

constexpr double ridge_share = 1e-5;  // of the kernel's mean diagonal
constexpr std::int64_t sweeps_of_round = 2, best_alone = 10;
constexpr double worth_two = 1e-4;  // of its gain, by an exchange of two groups at once
constexpr std::int64_t most_moves = 12;
// At the start: of ||h||^2, that a row explains beside those taken before it. (Rows that are wrong in the end have half
// of this to twice as much.)
constexpr double least_gain = 5e-4;
constexpr std::int64_t most_rows_at_many_points = 80;
constexpr std::int64_t largest_start = 3000;  // features of all rows that the first are chosen from

// Whether a row before row `at` equals it.
bool is_copy(const Tensor& rows, std::int64_t at) {
  return RowExchange::are_equal(rows.narrow(0, 0, at), rows.narrow(0, at, 1)).any().item<bool>();
}

// The first of equal rows.
Tensor each_once(const Tensor& rows) {
  std::vector<Tensor> kept{rows.slice(0, 0, 1)};
  for (std::int64_t i = 1; i < rows.size(0); ++i) {
    if (!is_copy(rows, i)) kept.push_back(rows.narrow(0, i, 1));
  }
  return at::cat(kept);
}

}  // namespace

RowExchange::RowExchange(const Subject& subject, const Parameters& initial, const Parameters& trained,
                         std::int64_t most, Job& job)
    : subject_(subject),
      job_(job),
      most_(most),
      initial_(initial.to(at::kDouble)),
      trained_(trained.to(at::kDouble)),
      drift_(trained_.minus(initial_)),
      norm2_(drift_.squared_norm()) {}

Tensor RowExchange::are_equal(const Tensor& rows, const Tensor& others) {
  constexpr double rounding = 1e-6;
  return at::cdist(rows, others) < rounding;
}

Tensor RowExchange::double_neighbours(const Tensor& near, const Tensor& gains) const {
  const std::int64_t count = std::min(best_alone, near.size(0) - 1);
  const Tensor best = std::get<1>(gains.slice(0, 1).topk(count)) + 1;
  std::vector<Tensor> twice{near[0]};
  for (std::int64_t i = 0; i < count; ++i) {
    const Tensor one = near[best[i].item<std::int64_t>()] - near[0];
    for (std::int64_t j = 0; j < i; ++j) {
      const Tensor other = near[best[j].item<std::int64_t>()] - near[0];
      // Two levels of one group do not go together.
      if (one.mul(other).any().item<bool>()) continue;
      twice.push_back(near[0] + one + other);
    }
  }
  return at::stack(twice);
}

Tensor RowExchange::random_row() {
  const Tensor pixels = at::rand({1, rows_.size(1)}, job_.random, at::kDouble);
  return nearest_rows(subject_.space, subject_.space.inputs(pixels)).squeeze(0);
}

// Forward selection: the row that explains most beside those taken is next.
void RowExchange::begin(const Tensor& sure, const Tensor& likely) {
  const Tensor first = each_once(sure);
  sure_ = first.size(0);
  rows_ = each_once(at::cat({first, likely})).slice(0, 0, most_rows_at_the_start(first.size(0)));
  set_points(points_between(initial_, trained_, {0, 1.0 / 3, 2.0 / 3, 1}));
  const std::int64_t f = features(), count = rows_.size(0);
  Tensor kernel = kernel_, inner = inner_;
  std::vector<std::int64_t> taken;
  Tensor left = at::ones({count}, at::kBool);
  const auto take = [&](std::int64_t row) {
    const Tensor columns = kernel.narrow(1, row * f, f).clone();
    const Tensor solved = at::linalg_solve(columns.narrow(0, row * f, f), columns.t());  // [F, m F]
    inner = inner - at::mv(solved.t(), inner.narrow(0, row * f, f));
    kernel = kernel - at::mm(columns, solved);
    left[row] = false;
    taken.push_back(row);
  };
  for (std::int64_t row = 0; row < sure_; ++row) take(row);
  while (static_cast<std::int64_t>(taken.size()) < std::min(count, most_) && !job_.progress.out_of_time()) {
    const Tensor rest = at::nonzero(left).squeeze(1), right = inner.view({count, f}).index_select(0, rest);
    const Tensor own = kernel.view({count, f, count, f}).diagonal(0, 0, 2).permute({2, 0, 1}).index_select(0, rest);
    const Tensor gains = (right * at::linalg_solve(own, right.unsqueeze(2)).squeeze(2)).sum(1);
    const auto best = gains.argmax().item<std::int64_t>();
    if (gains[best].item<double>() < least_gain * norm2_) break;
    take(rest[best].item<std::int64_t>());
  }
  rows_ = rows_.index_select(0, at::tensor(taken, at::kLong));
}

// Of all that there are, by the size of their kernel; at least the sure ones and one more.
std::int64_t RowExchange::most_rows_at_the_start(std::int64_t sure) const {
  const std::int64_t features = points_of_path * std::get<TrainedNetwork>(subject_.released).network->outputs();
  return std::max(largest_start / features, sure + 1);
}

// At more points more rows come back, and each step takes as much longer. (12 columns of 5 levels, N = 30, of which 27
// are known at the start and none is held: 26 at 4 points, 29 at 5 and at 8, after 4 rounds and after 1.)
std::vector<Parameters> RowExchange::path() const {
  const std::vector<std::size_t> few{1, 3, 5}, many{1, 2, 3, 4, 6, 8};
  return path_points(subject_, initial_, trained_, rows_, rows_.size(0) > most_rows_at_many_points ? few : many);
}

void RowExchange::set_points(const std::vector<Parameters>& points) {
  target_ = std::get<TrainedNetwork>(subject_.released).dense()->tangents_at(points, drift_);
  kernel_ = target_->gram(rows_, {});
  inner_ = target_->inner(rows_, {}).flatten();
  ridge_ = ridge_share * kernel_.diagonal().mean().item<double>();
  kernel_.diagonal().add_(ridge_);
}

// Anew after each exchange: updates by blocks lose all digits within a sweep, for features of neighbouring points are
// nearly parallel.
void RowExchange::invert() { inverse_ = at::cholesky_inverse(at::linalg_cholesky(kernel_)); }

double RowExchange::unexplained() const {
  return 1 - at::dot(inner_, at::mv(inverse_, inner_)).item<double>() / norm2_;
}

RowExchange::Rest RowExchange::without(std::int64_t row) const {
  const std::int64_t first = row * features();
  const Tensor columns = inverse_.narrow(1, first, features());
  Rest rest;
  rest.inverse = inverse_ - at::mm(columns, at::linalg_solve(columns.narrow(0, first, features()), columns.t()));
  rest.inverse.narrow(0, first, features()).zero_();  // but for rounding
  rest.inverse.narrow(1, first, features()).zero_();
  rest.coefficients = at::mv(rest.inverse, inner_);
  return rest;
}

RowExchange::Tried RowExchange::tried(const Tensor& candidates, const Rest& rest) const {
  const std::int64_t count = candidates.size(0), f = features(), all = rows_.size(0) * f;
  const Tensor gram = target_->gram_of_first(count, at::cat({candidates, rows_}), {});
  Tried tried;
  tried.inner = target_->inner(candidates, {});
  tried.kernel = gram.narrow(1, count * f, all).reshape({count, f, all});
  tried.within =
      gram.narrow(1, 0, count * f).reshape({count, f, count, f}).diagonal(0, 0, 2).permute({2, 0, 1}).contiguous();
  tried.within.diagonal(0, 1, 2).add_(ridge_);
  const Tensor flat = tried.kernel.view({count * f, all});
  const Tensor left = tried.inner - at::mv(flat, rest.coefficients).view({count, f});
  const Tensor explained = at::mm(flat, rest.inverse).view({count, f, all}).bmm(tried.kernel.transpose(1, 2));
  const Tensor solved = at::linalg_solve(tried.within - explained, left.unsqueeze(2)).squeeze(2);
  tried.gain = (left * solved).sum(1);
  return tried;
}

void RowExchange::replace(std::int64_t row, const Ascent& by) {
  const std::int64_t f = features(), first = row * f;
  rows_[row].copy_(by.row);
  inner_.narrow(0, first, f).copy_(by.tried.inner[by.which]);
  Tensor kernel = by.tried.kernel[by.which].clone();  // [F, m F]
  kernel.narrow(1, first, f).copy_(by.tried.within[by.which]);
  kernel_.narrow(0, first, f).copy_(kernel);
  kernel_.narrow(1, first, f).copy_(kernel.t());
  invert();
}

RowExchange::Ascent RowExchange::ascend(const Tensor& start, const Rest& rest) const {
  Ascent ascent;
  ascent.row = start;
  while (ascent.moves < most_moves) {
    Tensor near = neighbours_of(subject_.space, ascent.row);
    ascent.tried = tried(near, rest);
    ascent.which = ascent.tried.gain.argmax().item<std::int64_t>();
    if (ascent.which == 0) {
      const double gain = ascent.tried.gain[0].item<double>();
      near = double_neighbours(near, ascent.tried.gain);
      const Tried twice = tried(near, rest);
      const auto best = twice.gain.argmax().item<std::int64_t>();
      if (twice.gain[best].item<double>() <= (1 + worth_two) * gain) break;
      ascent.tried = twice;
      ascent.which = best;
    }
    ascent.row = near[ascent.which];
    ++ascent.moves;
  }
  return ascent;
}

bool RowExchange::improve(std::int64_t row) {
  const Ascent best = ascend(rows_[row].clone(), without(row));
  if (best.moves == 0) return false;
  replace(row, best);
  return true;
}

void RowExchange::redraw_copies() {
  for (std::int64_t i = std::max<std::int64_t>(sure_, 1); i < rows_.size(0); ++i) {
    if (is_copy(rows_, i)) rows_[i].copy_(random_row());
  }
}

RowExchange::Result RowExchange::run(const Tensor& sure, const Tensor& likely, std::int64_t rounds) {
  job_.progress.stage("flow: rows that explain most");
  begin(nearest_rows(subject_.space, sure), nearest_rows(subject_.space, likely));
  // Where time is up, nothing is known of the rows that were chosen.
  if (rows_.size(0) == 0 || job_.progress.out_of_time()) return {};
  const std::int64_t moving = rows_.size(0) - sure_;
  for (std::int64_t round = 0; round < rounds && moving > 0 && !job_.progress.out_of_time(); ++round) {
    redraw_copies();
    set_points(path());
    invert();
    std::int64_t exchanged = 0;
    for (std::int64_t sweep = 0; sweep < sweeps_of_round; ++sweep) {
      job_.progress.stage(fmt::format("flow: exchange of levels, round {}, sweep {}", round + 1, sweep + 1));
      const Tensor order = at::randperm(moving, job_.random, at::kLong) + sure_;
      for (std::int64_t i = 0; i < moving && !job_.progress.out_of_time(); ++i) {
        exchanged += improve(order[i].item<std::int64_t>()) ? 1 : 0;
        job_.progress.step(i + 1, moving, fmt::format("{:.1f} % unexplained", 100 * unexplained()));
      }
    }
    exchanges_ += exchanged;
    if (exchanged == 0) break;
  }
  return conclude();
}

RowExchange::Result RowExchange::conclude() {
  if (!job_.progress.out_of_time() || !inverse_.defined()) {
    set_points(path());
    invert();
  }
  const std::int64_t count = rows_.size(0);
  Result result;
  result.sure = sure_;
  result.exchanges = exchanges_;
  result.unexplained = unexplained();
  const Tensor gain = at::zeros({count}, at::kDouble), second = at::ones({count}, at::kDouble);
  job_.progress.stage("flow: with and without each row");
  for (std::int64_t i = 0; i < count && !job_.progress.out_of_time(); ++i) {
    const Tensor gains = tried(neighbours_of(subject_.space, rows_[i]), without(i)).gain;
    gain[i] = gains[0] / norm2_;
    second[i] = gains.slice(0, 1).max() / gains[0];
    job_.progress.step(i + 1, count, "");
  }
  const Tensor order = at::cat({at::arange(sure_), at::argsort(gain.slice(0, sure_), 0, /*descending=*/true) + sure_});
  result.rows = rows_.index_select(0, order);
  result.gain = gain.index_select(0, order);
  result.second = second.index_select(0, order);
  return result;
}

}  // namespace afterimage
