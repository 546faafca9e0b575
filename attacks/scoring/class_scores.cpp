#include "attacks/scoring/class_scores.h"

#include <limits>

#include "models/foundations/error.h"

namespace afterimage {
namespace {

constexpr double lowest = -std::numeric_limits<double>::infinity();

Tensor is_label(const Tensor& targets) { return at::one_hot(targets.argmax(1), targets.size(1)).to(at::kBool); }

}  // namespace

Tensor outputs_of_classes(const Network& network, const Parameters& parameters, const Candidates& candidates) {
  if (!candidates.targets.defined()) throw NotApplicable("the labels of the candidates are not known");
  const Tensor outputs = network.evaluate(parameters, candidates.images).to(at::kDouble);
  const std::int64_t columns = candidates.targets.size(1), classes = columns == 1 ? 2 : columns;
  if (outputs.size(1) == columns) return outputs;
  if (outputs.size(1) % classes != 0) {
    throw NotApplicable("the network's outputs are not those of the candidates' targets");
  }
  return class_outputs(outputs, outputs.size(1) / classes, columns);
}

Tensor label_log_odds(const Network& network, const Parameters& parameters, const Candidates& candidates) {
  const Tensor outputs = outputs_of_classes(network, parameters, candidates);
  const Tensor targets = candidates.targets.to(at::kDouble);
  if (outputs.size(1) == 1) return (outputs * targets).sum(1);
  const Tensor label = is_label(targets);
  return (outputs * label).sum(1) - at::logsumexp(outputs.masked_fill(label, lowest), {1});
}

Tensor losses(LossKind loss, const Tensor& outputs, const Tensor& targets) {
  switch (loss) {
    case LossKind::squared:
      return (outputs - targets).square().sum(1) / 2;
    case LossKind::logistic:
      return at::softplus(-(outputs * targets).sum(1));
    case LossKind::cross_entropy:
      break;
  }
  return -(at::log_softmax(outputs, 1) * targets).sum(1);
}

Tensor margins(const Tensor& outputs, const Tensor& targets) {
  if (outputs.size(1) == 1) return (outputs * targets).sum(1);
  const Tensor label = is_label(targets);
  return (outputs * label).sum(1) - outputs.masked_fill(label, lowest).amax(1);
}

}  // namespace afterimage
