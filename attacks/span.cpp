#include "attacks/span.h"

#include <fmt/format.h>

#include "attacks/solver/cost.h"
#include "attacks/solver/last_layer.h"
#include "attacks/solver/row_span.h"
#include "models/connected_networks.h"

namespace afterimage {
namespace {

constexpr double smallest_norm = 1e-300;

struct Settings {};

Settings parse(const OptionValues&) { return {}; }

Estimate estimate(const Settings&, const Subject& subject, std::int64_t) {
  return cost_of_span(sizes_of(std::get<TrainedNetwork>(subject.released)));
}

// Where the rank of the layer's change does not count the images: by the outputs alone.
Reconstruction by_fit(const TrainedNetwork& released, const std::string& evidence) {
  Reconstruction result;
  result.evidence["membership_by"] = "how near the outputs are to targets of the squared loss: " + evidence;
  result.claim.membership = [&released](const Candidates& pool) {
    return distance_to_targets(released, pool.images).neg();
  };
  return result;
}

void add_span(Reconstruction& result, const RowSpan& span) {
  result.evidence["rank"] = span.rank;
  result.evidence["gap"] = span.gap;
  result.evidence["weight_decay_factor"] = span.decay;
}

Reconstruction probe_last_layer(const TrainedNetwork& released, std::optional<LossKind> loss, const LastLayer& layer) {
  const SpanSearch search = find_feature_span(released, layer);
  Reconstruction result;
  if (search.span) {
    add_span(result, *search.span);
    result.evidence["membership_by"] = "the distance of features to the row space of the last layer's change";
    result.claim.membership = [&released, layer, span = *search.span](const Candidates& pool) {
      return distance_to_span(span, last_layer_features(*released.network, released.trained, layer, pool.images)).neg();
    };
  } else if (loss == LossKind::squared) {
    result = by_fit(released, search.evidence);
  } else {
    result = not_applicable("only the last layer was trained, and " + search.evidence);
  }
  result.evidence["layer"] = "last";
  result.evidence["singular_values"] = search.singular_values;
  return result;
}

// The frozen layers before it are a fixed function of the image, so that all that holds of images in the first layer
// holds of what this layer gets of them.
Reconstruction probe_later_layer(const TrainedNetwork& released, std::size_t layer) {
  const SpanSearch search = find_layer_span(released, layer);
  Reconstruction result;
  if (!search.span && !search.directions.defined()) return not_applicable(search.evidence);
  result.evidence["layer"] = layer + 1;
  result.evidence["singular_values"] = search.singular_values;
  if (search.span) {
    add_span(result, *search.span);
  } else {
    result.evidence["rank"] = nullptr;
    result.evidence["no_rank"] = search.evidence;
  }
  result.evidence["membership_by"] =
      "the frozen layers' outputs at an image, and how far they are from the row space of the change of the layer that "
      "gets them";
  result.claim.membership = [&released, layer, search](const Candidates& pool) {
    const Tensor inputs =
        released.dense()->activations(released.trained, pool.images.to(released.trained.dtype()))[layer];
    return (search.span ? distance_to_span(*search.span, inputs) : distance_to_leading(search.directions, inputs))
        .neg();
  };
  return result;
}

// Every step of training changes the input matrix of a recurrent network by sums of delta s^T over the time slices s of
// the images, so that its rows lie in the span of all slices.
Reconstruction probe_time_slices(const TrainedNetwork& released, const RecurrentNetwork& network) {
  const auto [steps, numbers] = network.shape();
  const char* name = RecurrentNetwork::input_weight;
  if (at::equal(released.initial.at(name), released.trained.at(name))) {
    return not_applicable("the input matrix did not change in training, as where it is frozen");
  }
  const SpanSearch search = find_row_span(released.initial.at(name), released.trained.at(name));
  if (!search.span) {
    return not_applicable(
        fmt::format("the input matrix gets time slices of {} numbers, {} of each image, and no smaller space of the "
                    "training images' "
                    "slices is seen in its change: {}",
                    numbers, steps, search.evidence));
  }
  Reconstruction result;
  add_span(result, *search.span);
  result.evidence["singular_values"] = search.singular_values;
  result.evidence["membership_by"] =
      "the distance of an image's time slices to the row space of the input matrix's change";
  result.claim.membership = [span = *search.span, slices = steps, size = numbers](const Candidates& pool) {
    const Tensor& images = pool.images;
    const Tensor each = images.to(at::kDouble).reshape({images.size(0) * slices, size});
    const Tensor left = (distance_to_span(span, each) * each.norm(2, 1)).view({images.size(0), slices}).norm(2, 1);
    return (left / images.to(at::kDouble).norm(2, 1).clamp_min(smallest_norm)).neg();
  };
  return result;
}

Reconstruction probe_first_layer(const TrainedNetwork& released) {
  Reconstruction result;
  const SpanSearch search = input_span_of(released);
  if (!search.span && !search.directions.defined()) result = not_applicable(search.evidence);
  result.evidence["singular_values"] = search.singular_values;
  if (search.span) {
    add_span(result, *search.span);
    result.claim.membership = [span = *search.span](const Candidates& pool) {
      return distance_to_span(span, pool.images).neg();
    };
  } else if (search.directions.defined()) {
    result.evidence["rank"] = nullptr;
    result.evidence["no_rank"] = search.evidence;
    result.evidence["membership_by"] = "how much of an image is left outside the directions that changed most";
    result.claim.membership = [directions = search.directions](const Candidates& pool) {
      return distance_to_leading(directions, pool.images).neg();
    };
  }
  return result;
}

Reconstruction run(const Settings&, const Subject& subject, const HandOver&, Job& job) {
  const auto& released = std::get<TrainedNetwork>(subject.released);
  if (const auto last = trained_last_layer(released)) {
    job.progress.stage("span: spectrum of the last layer's change");
    return probe_last_layer(released, subject.loss, *last);
  }
  job.progress.stage("span: spectrum of the first trained layer's change");
  if (const auto* recurrent = dynamic_cast<const RecurrentNetwork*>(released.network.get())) {
    return probe_time_slices(released, *recurrent);
  }
  if (const std::size_t layer = first_trained_layer(released); layer > 0) return probe_later_layer(released, layer);
  return probe_first_layer(released);
}

}  // namespace

Attack span_attack() {
  Attack attack;
  attack.name = "span";
  attack.description =
      "counts the training images, and distinguishes them from others, by the row space of the first layer's change, "
      "or of the first one that was trained where those before it were frozen; does not count after Adam or with "
      "nearly as many images as pixels, but still distinguishes";
  attack.needs = "initial and trained first-layer weights, the mean that was subtracted";
  attack.does_not_apply =
      "a first layer that is not dense, unless the last layer alone was trained; recurrent networks whose training "
      "images "
      "have more time slices than these have numbers";
  attack.configure = configured_by(parse, estimate, run);
  return attack;
}

}  // namespace afterimage
