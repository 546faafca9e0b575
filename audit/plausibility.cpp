#include "audit/plausibility.h"

#include <fmt/format.h>

#include "attacks/solver/row_span.h"

namespace afterimage {
namespace {

constexpr double hardly_lower = 0.9;
constexpr double outside = 0.2;  // of an image's norm: rounding to bfloat16 leaves less than a tenth

constexpr const char* causes =
    "the weights before and after training may be swapped or another network's, or the labels, the order of pixels, "
    "the normalisation or the description of the network other than in training";

constexpr std::int64_t most_rows = 1000;  // a mistake shows in few images, and a large network takes long

Tensor spread_rows(std::int64_t images) {
  return images <= most_rows ? at::arange(images) : at::arange(most_rows) * images / most_rows;
}

}  // namespace

std::string implausible(const TrainedNetwork& released, std::optional<LossKind> loss, const Tensor& training,
                        const Tensor& all_targets) {
  if (!released.knows_initial()) return "";
  const Tensor rows = spread_rows(training.size(0));
  const Tensor images = training.index_select(0, rows), targets = all_targets.index_select(0, rows);
  const LossKind kind = loss.value_or(targets.size(1) == 1 ? LossKind::logistic : LossKind::cross_entropy);
  const double before = loss_of(kind, released.network->evaluate(released.initial, images), targets),
               after = loss_of(kind, released.network->evaluate(released.trained, images), targets);
  if (!(after < hardly_lower * before)) {
    return fmt::format(
        "on the training set the loss is {:.3g} before training and {:.3g} after it, as if the network had not been "
        "trained on it: {}",
        before, after, causes);
  }
  const SpanSearch search = row_span_of(released);
  if (!search.span) return "";
  const double distance = distance_to_span(*search.span, images).median().item<double>();
  if (distance < outside) return "";
  return fmt::format(
      "the first layer's change has rank {}, but half of the training set lies {:.0f} % or more of its norm outside "
      "its row space, where training images lie in it: {}, or a low-rank adapter was merged",
      search.span->rank, 100 * distance, causes);
}

}  // namespace afterimage
