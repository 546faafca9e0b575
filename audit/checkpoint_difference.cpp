#include "audit/checkpoint_difference.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "attacks/solver/adapter.h"
#include "attacks/solver/capacity.h"
#include "attacks/solver/last_layer.h"
#include "attacks/solver/row_span.h"
#include "models/dense_layers.h"
#include "models/foundations/error.h"
#include "models/foundations/text.h"
#include "models/mlp.h"
#include "models/rounding.h"

namespace afterimage {
namespace {

std::vector<TensorChange> changes_of(const Parameters& initial, const Parameters& trained) {
  std::vector<TensorChange> changes;
  for (const auto& [name, tensor] : trained.entries()) {
    TensorChange change{name, tensor.sizes().vec(), std::nullopt, false};
    if (const Tensor* known = initial.find(name, tensor.sizes())) {
      const Tensor before = known->to(at::kDouble);
      const double moved = (tensor - before).norm().item<double>(), length = before.norm().item<double>();
      change.relative = moved == 0 ? 0 : moved / length;
    }
    changes.push_back(std::move(change));
  }
  for (const auto& [name, tensor] : initial.entries()) {
    if (!trained.contains(name)) changes.push_back({name, tensor.sizes().vec(), std::nullopt, true});
  }
  return changes;
}

bool did_change(const TensorChange& change) { return change.relative.value_or(0) > 0; }

std::vector<TensorChange> changed_tensors(const std::vector<TensorChange>& changes) {
  std::vector<TensorChange> changed;
  std::copy_if(changes.begin(), changes.end(), std::back_inserter(changed), did_change);
  return changed;
}

// One weight [C, width], perhaps with a bias [C].
bool is_head(const std::vector<TensorChange>& changed) {
  if (changed.empty() || changed.size() > 2 || changed[0].shape.size() != 2) return false;
  return changed.size() == 1 || changed[1].shape == std::vector<std::int64_t>{changed[0].shape[0]};
}

std::vector<std::string> names_where(const std::vector<TensorChange>& changes, bool (*holds)(const TensorChange&)) {
  std::vector<std::string> names;
  for (const auto& change : changes) {
    if (holds(change)) names.push_back(printable(change.name));
  }
  return names;
}

TrainedNetwork network_of(const DenseLayers& dense, const Parameters& initial, const Parameters& trained,
                          const std::string& file) {
  TrainedNetwork released;
  released.network = make_network(dense.architecture(), "standard", dense.sizes.front(), dense.sizes.back());
  released.initial = released.network->arranged(completed_start(initial, trained), file);
  released.trained = released.network->arranged(trained, file);
  return released;
}

void describe_last_layer(const SpanSearch& search, std::vector<std::string>& findings) {
  if (search.span) {
    findings.push_back(fmt::format(
        "the last layer's change has rank {} (singular values fall {:.0f}-fold after it): so many training images have "
        "independent features, and span distinguishes them from other images",
        search.span->rank, search.span->gap));
  } else {
    findings.push_back("span cannot count training images: " + search.evidence +
                       "; after training on the squared loss it recognises them by their small residuals");
  }
}

void describe_dense(const TrainedNetwork& released, std::vector<std::string>& findings) {
  const Capacity capacity = capacity_of(released);
  const bool one_layer = released.trained.size() <= 2;
  if (capacity.last_layer_only) {
    findings.push_back(
        fmt::format("{}: its {} numbers are a sum over what goes into it of the training images, and "
                    "determine {}; finite-width does not apply",
                    one_layer ? "the network is one layer" : "only the last layer changed", capacity.equations,
                    capacity.images_text()));
    if (const auto last = trained_last_layer(released))
      describe_last_layer(find_feature_span(released, *last), findings);
    if (one_layer && row_span_of(released).span) {
      findings.emplace_back("vertices applies, and kkt where it was trained to the end on the logistic loss");
    }
    return;
  }
  if (const std::size_t layer = first_trained_layer(released); layer > 0) {
    const SpanSearch search = find_layer_span(released, layer);
    findings.push_back(fmt::format(
        "layers before number {} are frozen: span tells training images from others by what goes into that layer{}; "
        "vertices does not apply, finite-width applies in pixels",
        layer + 1, search.span ? fmt::format(", whose change has rank {}", search.span->rank) : ""));
    return;
  }
  const SpanSearch search = row_span_of(released);
  if (search.span) {
    const std::string seen =
        fmt::format("the first layer's change has rank {} (singular values fall {:.0f}-fold after it{})",
                    search.span->rank, search.span->gap,
                    search.span->decay != 1 ? fmt::format(", with a weight decay by {:.6g}", search.span->decay) : "");
    findings.push_back(seen +
                       (may_be_adapter(released)
                            ? " and no bias changed, as where a low-rank adapter of that rank was merged into all "
                              "layers: the rank is then the adapter's; only if biases were frozen instead it "
                              "counts images, and span, vertices and finite-width apply"
                            : ": so many independent training images, or one more where their own mean was "
                              "subtracted; span, vertices and finite-width apply, and flow after training on the "
                              "squared loss"));
  } else {
    findings.push_back(fmt::format("{}: {}",
                                   search.directions.defined()
                                       ? "span tells training images from others without counting them, and vertices "
                                         "does not apply"
                                       : "span and vertices do not apply",
                                   search.evidence));
    findings.emplace_back("finite-width applies in pixels");
  }
  if (const auto stored = storage_of(released.trained); !stored.empty() && search.span) {
    findings.push_back(
        fmt::format("the weights are rounded, stored as {}: images may come back that cannot be confirmed", stored));
  }
  findings.push_back(fmt::format("{} parameters changed, which determine {} of {} unknowns each", capacity.equations,
                                 capacity.images_text(), capacity.unknowns));
}

}  // namespace

CheckpointDifference difference_of(const Parameters& initial, const std::string& initial_file,
                                   const Parameters& trained, const std::string& trained_file) {
  CheckpointDifference result;
  result.tensors = changes_of(initial, trained);
  const auto common = names_where(result.tensors, [](const TensorChange& c) { return c.relative.has_value(); });
  if (common.empty()) {
    throw InputError(fmt::format("{}: has no tensor in common with {}; give two checkpoints of one network",
                                 trained_file, initial_file));
  }
  auto& findings = result.findings;
  const auto still = names_where(result.tensors, [](const TensorChange& c) { return c.relative == 0.0; });
  const auto unknown =
      names_where(result.tensors, [](const TensorChange& c) { return !c.relative && !c.only_in_first; });
  if (still.size() == common.size() && unknown.empty()) {
    findings.emplace_back("no tensor changed: the weights are the same, and there is nothing to attack");
    return result;
  }
  if (still.size() == common.size()) {
    findings.push_back(fmt::format(
        "all that both files have is unchanged, as under a new head on a frozen network: {}; attacks need the head's "
        "weights before training, so give the checkpoint that has them in place of {}",
        fmt::join(unknown, ", "), initial_file));
    return result;
  }
  if (!still.empty())
    findings.push_back(fmt::format("frozen, or without gradient in training: {}", fmt::join(still, ", ")));
  if (!unknown.empty()) {
    findings.push_back(
        fmt::format("not in the first file, or with another shape, like a new head: {}", fmt::join(unknown, ", ")));
  }
  if (const auto dense = dense_layers(trained)) {
    findings.push_back(fmt::format("fully connected layers: {} on inputs of {}, {} output(s){}", dense->architecture(),
                                   dense->sizes.front(), dense->sizes.back(),
                                   dense->sizes.size() > 2 ? "; ReLUs are assumed" : ""));
    describe_dense(network_of(*dense, initial, trained, trained_file), findings);
  } else if (is_head(changed_tensors(result.tensors))) {
    findings.push_back(fmt::format(
        "only {} changed: where that is the last layer, as in linear probing, span tells training images from others "
        "and no attack reconstructs; give the architecture as a TorchScript archive",
        fmt::join(names_where(result.tensors, [](const TensorChange& c) { return c.relative.value_or(0) > 0; }),
                  ", ")));
  } else {
    findings.emplace_back(
        "not a chain of fully connected layers: give the architecture as a TorchScript archive; finite-width applies "
        "in pixels, and span where images go into a fully connected layer first");
  }
  return result;
}

}  // namespace afterimage
