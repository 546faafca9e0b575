#include "defenses/pseudo_subclasses.h"

#include <fmt/format.h>

#include "models/foundations/error.h"

namespace afterimage {
namespace {

constexpr double smallest_direction = 1e-6;  // of the largest singular value: below it is rounding

// Orthonormal columns [d, d], at random.
Tensor rotation(std::int64_t size, Generator& random) {
  return std::get<0>(at::linalg_qr(at::randn({size, size}, random, at::kDouble)));
}

// [p, p], onto what is orthogonal to the rows of weights [k, p].
Tensor null_space_of(const Tensor& weights) {
  const auto [u, values, right] = at::linalg_svd(weights, /*full_matrices=*/false);
  const Tensor rows = right.index_select(0, at::nonzero(values > smallest_direction * values.max()).squeeze(1));
  return at::eye(weights.size(1), at::kDouble) - at::mm(rows.t(), rows);
}

}  // namespace

PseudoSubclasses::PseudoSubclasses(const Tensor& embeddings, const Tensor& labels, std::int64_t classes,
                                   const Tensor& weights, const Settings& settings, Generator& random)
    : temperature_(settings.temperature) {
  const Tensor all = embeddings.to(at::kDouble), left = null_space_of(weights.to(at::kDouble));
  const std::int64_t wanted = settings.subclasses / 2;
  for (std::int64_t label = 0; label < classes; ++label) {
    const Tensor own = all.index_select(0, at::nonzero(labels == label).squeeze(1));
    const std::int64_t count = own.size(0);
    means_.push_back(count > 0 ? own.mean(0) : at::zeros({all.size(1)}, at::kDouble));
    const Tensor centred = at::mm(own - means_.back(), left);
    const auto [u, values, right] = at::linalg_svd(centred, /*full_matrices=*/false);
    const auto largest = values.numel() > 0 ? values[0].item<double>() : 0.0;
    const auto found = largest > 0 ? (values > smallest_direction * largest).sum().item<std::int64_t>() : 0;
    if (found < wanted) {
      throw UsageError(
          fmt::format("subclasses {}: embeddings of the {} images of class {} vary in {} directions beside those that "
                      "tell classes, and {} are needed; ask for fewer subclasses, or train on more images",
                      settings.subclasses, count, label, found, wanted));
    }
    // Projections of this class have the variances values^2 / count; a rotation shares their mean.
    const Tensor kept = values.narrow(0, 0, wanted);
    const double scale = kept.square().mean().div(static_cast<double>(count)).sqrt().item<double>();
    directions_.push_back(at::mm(rotation(wanted, random), right.narrow(0, 0, wanted)).div(scale));
  }
}

Tensor PseudoSubclasses::membership(const Tensor& embeddings) const {
  const Tensor all = embeddings.to(at::kDouble);
  std::vector<Tensor> of_classes;
  for (std::size_t label = 0; label < means_.size(); ++label) {
    const Tensor along = at::mm(all - means_[label], directions_[label].t()).div(temperature_);
    of_classes.push_back(at::softmax(at::cat({along, -along}, 1), 1));
  }
  return at::stack(of_classes, 1);
}

Tensor PseudoSubclasses::targets(const Tensor& class_probabilities, const Tensor& embeddings) const {
  return class_probabilities.to(at::kDouble).unsqueeze(2).mul(membership(embeddings)).flatten(1);
}

}  // namespace afterimage
