#include "attacks/solver/row_span.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "attacks/solver/adapter.h"
#include "models/rounding.h"

namespace afterimage {
namespace {

// Any spectrum has smaller falls than this between neighbours. Rounding in float32 training leaves ratios of
// tens and more; the spectrum of a change under Adam has none above 2.
constexpr double least_gap = 3;
// The last fifth of a noise spectrum thins out towards zero and has gaps of its own.
constexpr double largest_rank_share = 0.8;
// Of nine networks (20 to 800 images of MNIST and Fashion-MNIST; SGD, Adam, mini-batches, augmentation) ranks from here
// to largest_rank_share give AUCs of 0.64 to 1.00, nowhere more than 0.02 below what the best single rank of 0.5 to 0.7
// gives.
constexpr double least_rank_share = 0.5;
constexpr double smallest_share_left = 1e-14;  // of ||x||^2, in float64
constexpr double still_column = 1.5;           // of a column of noise, whose norm varies by 1 / sqrt(2 rows)
// Beyond the rank there is only rounding, of weights stored in bfloat16 too. Where one direction dominates, as the mean
// of bright images of which no mean was subtracted, the values fall once after it as well, to a tenth or so.
constexpr double largest_rest = 0.03;
constexpr double smallest_spacing = 1e-300;
constexpr double rounding = 1e-7;  // of float32, relative to the largest singular value

struct Spectrum {
  Tensor values;  // [k] descending
  Tensor rows;    // [k, d]
};

Spectrum spectrum_of(const Tensor& matrix) {
  auto [u, s, vh] = at::linalg_svd(matrix, /*full_matrices=*/false);
  return {s, vh};
}

struct Fall {
  std::int64_t rank = 0;
  double gap = 1;
};

Fall largest_fall(const std::vector<double>& values) {
  Fall fall;
  const auto last = static_cast<std::int64_t>(largest_rank_share * static_cast<double>(values.size()));
  const double floor = rounding * values.front();
  for (std::int64_t k = 1; k < last; ++k) {
    if (values[k - 1] < floor) break;
    const double gap = values[k - 1] / std::max(values[k], floor);
    if (gap > fall.gap && values[k] < largest_rest * values.front()) fall = {k, gap};
  }
  return fall;
}

// Why a spectrum of a change does not fall: rounding, where the files show it and it is as large as what is there.
std::string cause_of_full_rank(const std::vector<double>& values, const Tensor& initial, const Tensor& trained) {
  constexpr double as_large = 3;
  const Storage before = storage_of(initial), after = storage_of(trained);
  const double noise = std::sqrt(before.mean_square + after.mean_square);
  const double largest_noise =
      noise * (std::sqrt(static_cast<double>(trained.size(0))) + std::sqrt(static_cast<double>(trained.size(1))));
  if (are_unrelated(initial, trained)) return "so it has full rank, as of two networks drawn with different seeds";
  if (values[values.size() / 2] > as_large * largest_noise) {
    return "so it has full rank, as under Adam, with weight normalisation, or with as many images as pixels";
  }
  return fmt::format(
      "which the rounding of the weights hides: they are stored as {}, whose noise has singular values "
      "up to {:.3g}",
      after.name.empty() ? before.name : after.name, largest_noise);
}

struct Decomposition {
  double decay = 1;
  Spectrum spectrum;  // of W_f - decay W_0
  std::vector<double> values;
  Fall fall;
};

// W_f = rho W_0 + S with S in a span: outside the directions in which W_f - rho W_0 is large only rho W_0 is left, so
// regressing there gives rho; a better rho shows the directions more clearly. Without decay it settles at once.
Decomposition decompose(const Tensor& initial, const Tensor& trained) {
  constexpr int most_rounds = 30;
  constexpr double settled = 1e-10, none = 1e-6, deviations = 5;
  // Of a factor that is fitted to rounded weights.
  const double noise = std::sqrt((storage_of(initial).mean_square + storage_of(trained).mean_square));
  Decomposition found;
  for (int round = 0; round < most_rounds; ++round) {
    found.spectrum = spectrum_of(trained - found.decay * initial);
    found.values = to_doubles(found.spectrum.values);
    found.fall = largest_fall(found.values);
    const std::int64_t large = found.fall.gap >= least_gap ? found.fall.rank : found.spectrum.rows.size(0) / 2;
    const Tensor leading = found.spectrum.rows.narrow(0, 0, large);
    const auto outside = [&](const Tensor& w) { return w - at::mm(at::mm(w, leading.t()), leading); };
    const Tensor w0 = outside(initial), wf = outside(trained);
    if (w0.count_nonzero().item<std::int64_t>() == 0) break;  // nothing that could have decayed
    double next = ((wf * w0).sum() / w0.square().sum()).item<double>();
    const double by_rounding = deviations * noise / w0.norm().item<double>();
    if (std::abs(next - 1) < std::max(none, by_rounding)) next = 1;
    if (std::abs(next - found.decay) < settled) break;
    found.decay = next;
  }
  return found;
}

// Whether each row moved along itself by a factor of its own, as weight normalisation makes it: W_f = D W_0 + S with a
// diagonal D, where weight decay has one factor for all rows. Such factors explain most of the change outside the
// leading directions, where rounding has about one part in the number of columns, and differ by more than what weight
// decay leaves: rounding of its many small steps.
bool moved_along_own_rows(const Decomposition& found, const Tensor& initial, const Tensor& trained) {
  constexpr double largest_share = 0.3, of_decay = 0.05, rounding_of_steps = 1e-6;
  const Tensor leading = found.spectrum.rows.narrow(0, 0, found.fall.rank);
  const auto outside = [&](const Tensor& w) { return w - at::mm(at::mm(w, leading.t()), leading); };
  const Tensor rest = outside(trained - found.decay * initial), start = outside(initial);
  const Tensor sizes = start.square().sum(1), along = (rest * start).sum(1);
  const double all = rest.square().sum().item<double>(), whole = sizes.sum().item<double>();
  if (all == 0 || whole == 0) return false;
  const double explained =
      at::where(sizes > 0, along.square() / sizes.clamp_min(smallest_spacing), at::zeros_like(sizes))
          .sum()
          .item<double>();
  const double factors = std::sqrt(explained / whole);  // root mean square of their differences from the decay
  return explained > largest_share * all && factors > rounding_of_steps &&
         factors > of_decay * std::abs(1 - found.decay);
}

// Whether a change has full rank among its different columns: others equal one of these, as where several pixels are
// the same in all images, or constant under Adam. `vectors` [rank, d]: the leading right singular vectors.
bool has_full_rank_but_for_copies(const Tensor& vectors) {
  constexpr double same = 1e-2, most_work = 2e9;  // relative; numbers
  constexpr std::int64_t fewest = 3;              // one or two pictures of few values have as few different columns
  const std::int64_t rank = vectors.size(0);
  if (rank < fewest || static_cast<double>(vectors.numel() * rank) > most_work) return false;
  Tensor left = vectors.t().contiguous();
  std::int64_t different = 0;
  for (; left.size(0) > 0 && different <= rank; ++different) {
    const Tensor apart = (left - left[0]).norm(2, 1);
    left = left.index_select(0, at::nonzero(apart > same * left[0].norm()).squeeze(1));
  }
  return different <= rank && different < vectors.size(1);
}

}  // namespace

SpanSearch find_row_span(const Tensor& initial, const Tensor& trained) {
  // Pixels that no training image changes (a black margin) have columns that are exactly zero: they show no
  // noise.
  const Tensor w0 = initial.to(at::kDouble), wf = trained.to(at::kDouble);
  const Tensor live = at::nonzero((wf - w0).abs().amax(0) > 0).squeeze(1);
  if (live.numel() == 0) return {std::nullopt, "the first layer did not change at all", {}, {}};
  const Tensor live_initial = w0.index_select(1, live), live_trained = wf.index_select(1, live);

  const auto over_all_pixels = [&](const Tensor& rows) {
    return at::zeros({rows.size(0), initial.size(1)}, at::kDouble).index_copy_(1, live, rows);
  };
  const Decomposition found = decompose(live_initial, live_trained);
  if (found.fall.gap < least_gap) {
    return {
        std::nullopt,
        fmt::format("the spectrum of the first layer's change has no fall: its {} singular values go from {:.3g} to "
                    "{:.3g} and fall nowhere to what could be rounding by more than {:.2f}, {}",
                    found.values.size(), found.values.front(), found.values.back(), found.fall.gap,
                    cause_of_full_rank(found.values, live_initial, live_trained)),
        found.values, over_all_pixels(found.spectrum.rows)};
  }
  if (moved_along_own_rows(found, live_initial, live_trained)) {
    return {
        std::nullopt,
        "each neuron's weights moved along themselves by another amount, as under weight normalisation, so that the "
        "rows of the first layer's change are not sums of training images alone",
        found.values, over_all_pixels(found.spectrum.rows.narrow(0, 0, found.fall.rank))};
  }
  if (has_full_rank_but_for_copies(found.spectrum.rows.narrow(0, 0, found.fall.rank))) {
    return {
        std::nullopt,
        fmt::format("the first layer's change has rank {}, as many as it has different columns, of which the others "
                    "are copies: it has full rank, as under Adam, or with as many images as different columns",
                    found.fall.rank),
        found.values, over_all_pixels(found.spectrum.rows)};
  }
  RowSpan span{found.decay, found.values, found.fall.rank, found.fall.gap, 0, 0, {}};
  double noise = 0;
  for (auto k = static_cast<std::size_t>(span.rank); k < found.values.size(); ++k)
    noise += found.values[k] * found.values[k];
  span.rounding = std::sqrt(noise / static_cast<double>(initial.size(0) * (live.numel() - span.rank)));
  span.relative_rounding = span.rounding / live_trained.square().mean().sqrt().item<double>();
  span.basis = over_all_pixels(found.spectrum.rows.narrow(0, 0, span.rank));
  return {span, "", found.values, {}};
}

SpanSearch find_row_span(const Tensor& trained) {
  const Tensor none = at::zeros_like(trained);
  SpanSearch all = find_row_span(none, trained);
  if (!all.span) return all;
  // A pixel that no training image changes still has the weights that it began with.
  const double noise = all.span->rounding * std::sqrt(static_cast<double>(trained.size(0)));
  return find_row_span(none, trained.masked_fill(trained.norm(2, 0) < still_column * noise, 0));
}

std::optional<std::string> input_weight_of(const TrainedNetwork& released) {
  if (const DenseNetwork* dense = released.dense()) return dense->first_weight();
  constexpr int tried = 3;
  constexpr double rank_one = 1e-4;  // relative, in float32
  const std::int64_t inputs = released.network->inputs(), outputs = released.network->outputs();
  std::vector<std::size_t> left;
  for (std::size_t i = 0; i < released.trained.size(); ++i) {
    if (released.trained[i].dim() == 2 && released.trained[i].size(1) == inputs) left.push_back(i);
  }
  Generator random = seeded(0);
  for (int k = 0; k < tried && !left.empty(); ++k) {
    const Tensor image = at::randn({1, inputs}, random, at::kFloat);
    const Tensor cotangent = at::randn({1, outputs}, random, at::kFloat);
    const Parameters gradient = released.network->pullback(
        released.trained, image, [&](const Tensor& f) { return cotangent.to(f.scalar_type()); });
    const Tensor x = image.to(at::kDouble);
    std::erase_if(left, [&](std::size_t i) {
      const Tensor g = gradient[i].to(at::kDouble);
      const double size = g.norm().item<double>();
      const Tensor column = at::mm(g, x.t()) / x.square().sum();
      return size == 0 || (g - at::mm(column, x)).norm().item<double>() > rank_one * size;
    });
  }
  if (left.empty()) return std::nullopt;
  return released.trained.entries()[left.front()].first;
}

namespace {

std::optional<SpanSearch> of_adapter(const TrainedNetwork& released) {
  const auto adapter = merged_adapter(released);
  if (!adapter) return std::nullopt;
  return SpanSearch{
      std::nullopt,
      fmt::format(
          "the change is that of a merged low-rank adapter, of rank {} in {} layers and without biases: its row "
          "space is the adapter's, not the training images'",
          adapter->rank, adapter->layers),
      {},
      {}};
}

}  // namespace

SpanSearch input_span_of(const TrainedNetwork& released) {
  if (released.dense() != nullptr) return row_span_of(released);
  const auto weight = input_weight_of(released);
  if (!weight) return {std::nullopt, "the first layer is not dense", {}, {}};
  if (auto adapter = of_adapter(released)) return *std::move(adapter);
  return find_row_span(released.initial.at(*weight), released.trained.at(*weight));
}

bool are_unrelated(const Tensor& initial, const Tensor& trained) {
  constexpr double by_chance = 5, of_one_size = 0.3;  // standard deviations; |W_0| / |W_f|
  const Tensor w0 = initial.to(at::kDouble).flatten(), wf = trained.to(at::kDouble).flatten();
  const double before = w0.norm().item<double>(), after = wf.norm().item<double>();
  return before > of_one_size * after &&
         std::abs(at::dot(w0, wf).item<double>()) * std::sqrt(static_cast<double>(w0.numel())) <=
             by_chance * before * after;
}

SpanSearch row_span_of(const TrainedNetwork& released) {
  const DenseNetwork* dense = released.dense();
  if (dense == nullptr) return {std::nullopt, "the network is not read as dense ReLU layers", {}, {}};
  if (auto adapter = of_adapter(released)) return *std::move(adapter);
  const std::string weight = dense->first_weight();
  SpanSearch search = find_row_span(released.initial.at(weight), released.trained.at(weight));
  if (!search.span && dense->last_hidden_layer().neurons == 0) {
    search.evidence = fmt::format(
        "the network is one layer, whose change has no smaller rank than its {} output(s) allow, as with at least that "
        "many training images",
        dense->outputs());
  }
  return search;
}

Tensor distance_to_span(const RowSpan& span, const Tensor& images) {
  const Tensor x = images.to(at::kDouble);
  const Tensor rest = x - at::mm(at::mm(x, span.basis.t()), span.basis);
  const Tensor norm = x.norm(2, 1);
  return at::where(norm > 0, rest.norm(2, 1) / norm.clamp_min(1e-300), at::ones_like(norm));
}

Tensor distance_to_leading(const Tensor& directions, const Tensor& images) {
  const auto rank_at = [&](double share) {
    return static_cast<std::int64_t>(share * static_cast<double>(directions.size(0)));
  };
  const std::int64_t first = std::max<std::int64_t>(1, rank_at(least_rank_share));
  const std::int64_t ranks = std::max<std::int64_t>(1, rank_at(largest_rank_share) - first);
  const Tensor x = images.to(at::kDouble);
  const Tensor size = x.square().sum(1, /*keepdim=*/true);
  const Tensor held = at::mm(x, directions.t()).square_().cumsum(1).narrow(1, first - 1, ranks);
  const Tensor left = ((size - held) / size).clamp_(smallest_share_left, 1).nan_to_num_(/*nan=*/1);
  return left.log_().mean(1) / 2;
}

}  // namespace afterimage
