#include "defenses/student_objectives.h"

#include <cmath>

namespace afterimage {
namespace {

constexpr double diversity_temperature = 1;

// KL(wanted || probabilities), in the mean over rows.
double mean_divergence(const Tensor& wanted, const Tensor& log_probabilities) {
  return at::where(wanted > 0, wanted * (wanted.log() - log_probabilities), at::zeros({1}, wanted.options()))
      .sum(1)
      .mean()
      .item<double>();
}

Tensor at_rows(const Tensor& all, const Tensor& rows) { return rows.defined() ? all.index_select(0, rows) : all; }

}  // namespace

Objective divergence_from(const Tensor& wanted) {
  // Less by the entropy of what is wanted, which no output changes.
  Objective objective = objective_of(LossKind::cross_entropy, wanted);
  objective.loss = [=](const Tensor& outputs) { return mean_divergence(wanted, at::log_softmax(outputs, 1)); };
  return objective;
}

Objective student_objective(const Tensor& logits, const Tensor& labels, double temperature, double label_share) {
  const Objective soft = divergence_from(at::softmax(logits / temperature, 1)), hard = divergence_from(labels);
  const double weight = (1 - label_share) * temperature * temperature;
  return {[=](const Tensor& outputs) {
            return weight * soft.loss(outputs / temperature) + label_share * hard.loss(outputs);
          },
          [=](const Tensor& outputs, const Tensor& rows) {
            return soft.cotangents(outputs / temperature, rows).mul_(weight / temperature) +
                   hard.cotangents(outputs, rows).mul_(label_share);
          }};
}

Objective subclass_objective(const Tensor& labels, std::int64_t subclasses, double weight) {
  struct Pairs {
    Tensor normal, deviation, alike;  // z [n, K], of each image [n, 1], z z' / (K T) [n, n]
    explicit Pairs(const Tensor& outputs) {
      const Tensor centred = outputs - outputs.mean(1, /*keepdim=*/true);
      deviation = centred.square().mean(1, /*keepdim=*/true).sqrt().clamp_min(1e-12);
      normal = centred / deviation;
      alike = at::mm(normal, normal.t()).div_(static_cast<double>(outputs.size(1)) * diversity_temperature);
    }
  };
  // The logarithms of the classes' probabilities of outputs [n, K].
  const auto classes_of_outputs = [=](const Tensor& outputs) {
    return at::log_softmax(outputs, 1).view({outputs.size(0), -1, subclasses}).logsumexp(2);
  };
  return {[=](const Tensor& outputs) {
            const Tensor alike = Pairs(outputs).alike;
            const Tensor contrast =
                alike.logsumexp(1) - alike.diagonal() - std::log(static_cast<double>(outputs.size(0)));
            // At least zero: the mean of z_i.z_j over all pairs is.
            return -(classes_of_outputs(outputs) * labels).sum(1).mean().item<double>() +
                   weight * (1 / diversity_temperature + contrast.mean().item<double>());
          },
          [=](const Tensor& outputs, const Tensor& rows) {
            const std::int64_t count = outputs.size(0), size = outputs.size(1);
            const Tensor all = outputs.view({count, -1, subclasses});
            const Tensor of_class = at::softmax(all, 2).mul(at_rows(labels, rows).unsqueeze(2)).flatten(1);
            const Pairs pairs(outputs);
            Tensor by_alike = at::softmax(pairs.alike, 1);
            by_alike.diagonal().sub_(1);
            const Tensor by_normal =
                at::mm(by_alike + by_alike.t(), pairs.normal).div_(static_cast<double>(size) * diversity_temperature);
            const Tensor along = by_normal.mul(pairs.normal).mean(1, /*keepdim=*/true);
            const Tensor by_outputs =
                (by_normal - by_normal.mean(1, /*keepdim=*/true) - pairs.normal * along) / pairs.deviation;
            return (at::softmax(outputs, 1) - of_class + by_outputs * weight).div_(static_cast<double>(count));
          }};
}

Objective with_embeddings(const Objective& classes, const Tensor& embeddings, std::int64_t count, double weight) {
  const std::int64_t size = embeddings.size(1);
  const double share = weight / static_cast<double>(size);
  return {[=](const Tensor& outputs) {
            const Tensor missed = outputs.narrow(1, count, size) - embeddings;
            return classes.loss(outputs.narrow(1, 0, count)) + share / 2 * missed.square().sum(1).mean().item<double>();
          },
          [=](const Tensor& outputs, const Tensor& rows) {
            const Tensor missed = outputs.narrow(1, count, size) - at_rows(embeddings, rows);
            return at::cat({classes.cotangents(outputs.narrow(1, 0, count), rows),
                            missed.mul(share / static_cast<double>(outputs.size(0)))},
                           1);
          }};
}

}  // namespace afterimage
