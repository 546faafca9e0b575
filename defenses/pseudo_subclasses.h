// Pseudo-subclasses from linear projections of a teacher's embeddings (LELP, Loo et al. 2024, arXiv 2409.20449): what a
// teacher knows beside its classes, for a student to learn where classes are few.
#pragma once

#include <vector>

#include "models/tensor.h"

namespace afterimage {

class PseudoSubclasses {
 public:
  struct Settings {
    std::int64_t subclasses;  // S of each class, even: each direction and its negative are one
    double temperature;       // of the membership, in standard deviations of a projection
  };

  // From embeddings [n, p] of images of classes [n] int64 below `classes`, and the weights [k, p] by which the teacher
  // tells classes. For each class, of its embeddings less their mean and less what lies in the span of the weights: the
  // S / 2 principal directions, turned at random so that they share the variance. In float64. Throws UsageError where a
  // class has fewer such directions than S / 2.
  PseudoSubclasses(const Tensor& embeddings, const Tensor& labels, std::int64_t classes, const Tensor& weights,
                   const Settings& settings, Generator& random);

  // Of embeddings [m, p]: the membership in each class's subclasses, [m, C, S] float64, that add up to one over S.
  Tensor membership(const Tensor& embeddings) const;
  // The targets of a student, [m, C S]: the product of class probabilities [m, C] and membership.
  Tensor targets(const Tensor& class_probabilities, const Tensor& embeddings) const;

  // Of each class, [S / 2, p]: projections of its embeddings on these have a mean square of one over all directions.
  const std::vector<Tensor>& directions() const { return directions_; }

 private:
  double temperature_;
  std::vector<Tensor> means_, directions_;
};

}  // namespace afterimage
