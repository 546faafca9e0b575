#include "audit/plausibility.h"

#include <fmt/format.h>

#include <cmath>

#include "attacks/solver/adapter.h"
#include "attacks/solver/row_span.h"

namespace afterimage {
namespace {

constexpr double hardly_lower = 0.9;
constexpr double outside = 0.2;  // of an image's norm: rounding to bfloat16 leaves less than a tenth

constexpr const char* causes =
    "it may have been trained on other images than these, the weights before and after training may be swapped or "
    "another network's, or the labels, the order of pixels, the normalisation or the description of the network other "
    "than in training";

constexpr const char* adapter_causes = "a low-rank adapter may have been merged, as no bias changed; or ";

constexpr std::int64_t most_rows = 1000;  // a mistake shows in few images, and a large network takes long

// Whether the change goes against the gradient of the loss at the start, as after one step or a few small ones, which
// lower the loss by little. Of other labels, images or weights the cosine is small.
bool descends(const TrainedNetwork& released, const ModelDescription& model, LossKind loss, const Tensor& images,
              const Tensor& targets) {
  constexpr double least_cosine = 0.8;
  const Parameters gradient = released.network->pullback(released.initial, images, [&](const Tensor& outputs) {
    const Tensor by_class = cotangents(loss, model.class_outputs(outputs), targets);
    return model.subclasses == 0 ? by_class : by_subclasses(outputs, by_class, model.subclasses);
  });
  const Parameters change = released.trained.minus(released.initial);
  const double sizes = std::sqrt(gradient.squared_norm() * change.squared_norm());
  return sizes > 0 && -change.inner(gradient) > least_cosine * sizes;
}

// Whether no weight after training resembles the one before it, as of two networks that were drawn independently.
bool are_independent(const TrainedNetwork& released) {
  constexpr std::int64_t fewest = 400;
  bool any = false;
  for (std::size_t i = 0; i < released.initial.size(); ++i) {
    if (released.initial[i].dim() < 2 || released.initial[i].numel() < fewest) continue;
    if (!are_unrelated(released.initial[i], released.trained[i])) return false;
    any = true;
  }
  return any;
}

Tensor spread_rows(std::int64_t images) {
  return images <= most_rows ? at::arange(images) : at::div(at::arange(most_rows) * images, most_rows, "floor");
}

}  // namespace

std::string implausible(const TrainedNetwork& released, const ModelDescription& model, const Tensor& training,
                        const Tensor& all_targets) {
  if (released.knows_initial() && are_independent(released)) {
    return "the weights before and after training have nothing in common, as those of two networks that were drawn "
           "with "
           "different seeds: give the weights that this training began with as --initial";
  }
  const Tensor rows = spread_rows(training.size(0));
  const Tensor images = training.index_select(0, rows), targets = all_targets.index_select(0, rows);
  const LossKind kind =
      model.class_loss().value_or(targets.size(1) == 1 ? LossKind::logistic : LossKind::cross_entropy);
  const Tensor outputs = model.class_outputs(released.network->evaluate(released.trained, images));
  // Of a start that is not known, outputs of zero.
  const Tensor first = released.knows_initial()
                           ? model.class_outputs(released.network->evaluate(released.initial, images))
                           : at::zeros_like(outputs);
  const double before = loss_of(kind, first, targets), after = loss_of(kind, outputs, targets);
  if (!(after < hardly_lower * before) &&
      !(released.knows_initial() && after < before && descends(released, model, kind, images, targets))) {
    return fmt::format(
        "on the training set the loss is {:.3g} {} and {:.3g} after training, as if the network had not been trained "
        "on "
        "it: {}",
        before, released.knows_initial() ? "before" : "of outputs that are zero", after, causes);
  }
  if (!released.knows_initial()) return "";
  const SpanSearch search = row_span_of(released);
  if (!search.span) return "";
  const double distance = distance_to_span(*search.span, images).median().item<double>();
  if (distance < outside) return "";
  return fmt::format(
      "the first layer's change has rank {}, but half of the training set lies {:.0f} % or more of its norm outside "
      "its row space, where training images lie in it: {}{}",
      search.span->rank, 100 * distance, may_be_adapter(released) ? adapter_causes : "", causes);
}

}  // namespace afterimage
