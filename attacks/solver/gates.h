// What the first layer's change says of one image, beside the span that it lies in.
//
// The change is dW = s sum_i delta_i x_i^T, and that of the bias db = s_b sum_i delta_i with the same delta_i [n_1]. So
// (x_i, s_b / s) lies in the row space of [dW | db], whatever the loss; and where a neuron never fires for x_i, its
// delta_i is zero: of the rows of neurons that x_i leaves alone, x_i has no part. (The sparsity of ReLU gradients, as
// in Dimitrov et al. 2024, arXiv 2403.03945, for one gradient; here for the sum of all steps of training.)
#pragma once

#include <vector>

#include "attacks/solver/row_span.h"
#include "models/foundations/progress.h"

namespace afterimage {

// A linear condition that all training images meet.
struct BiasCondition {
  // db lies in the column space of dW: at most rank images, each with normal . x = 1. It does not where the mean of the
  // training set itself was subtracted (rank + 1 images), and is not known where no bias was trained.
  bool holds = false;
  Tensor normal;  // [r] in the span's basis, float64; undefined unless it holds
};
BiasCondition bias_condition_of(const TrainedNetwork& released, const RowSpan& span);

// Independent training images at most: the rank, or one more where the bias condition does not hold.
std::int64_t most_images(const RowSpan& span, const BiasCondition& bias);

// Whether the change of the neurons that an image leaves alone lacks one direction of the span, as it does for a
// training image that they never fired for. An image that lies near a training image passes as that does: this tells
// which images took part, not how exact they are. Sums of several training images do not pass.
class GateTest {
 public:
  // The network has to be dense, its initial weights known.
  GateTest(const TrainedNetwork& released, const RowSpan& span, const BiasCondition& bias);

  // Whether noise leaves room for the test.
  bool applies() const { return largest_ratio_ > 0; }
  std::int64_t neurons() const { return rows_.size(0); }  // of the first layer
  // Of images by their coordinates in the basis [m, r], float64: the direction that the neurons which an image leaves
  // alone lack, [m, k], k the rank of [dW | db], of length 1; zero where the image fails. A training image may fail:
  // where neurons fired for it in between alone, or too few never did.
  Tensor missing_directions(const Tensor& coordinates) const;
  Tensor passes(const Tensor& coordinates) const { return missing_directions(coordinates).norm(2, 1) > 0; }  // [m] bool

  // Of the training images that the missing directions [m, k] of `known` [m, r] stand for, what each contributes to
  // images [n, r], as a share of what it contributes to its known image: [m, n], zero where a direction is, or where
  // the change of biases is not known. A missing direction is dual to its image in the row space of [dW | db]: another
  // training image has nothing of it (below 0.005 in 24 networks of MNIST, N = 10 and 20), a sum has its coefficient.
  Tensor parts(const Tensor& directions, const Tensor& known, const Tensor& coordinates) const;

  // Of one image [r]: whether its silent neurons lack no direction by far. Sums of images have 0.1 to 0.8 where
  // training images have 0.001 or less, and where a few neurons fired in between, seldom more than 0.1. `off` images
  // are about right and no more: 0.17 of their norm off, one has 0.17.
  bool refutes(const Tensor& coordinates, bool off = false) const;

  // Whether these images [K, r] are all that were trained on, by `shares`. False as well where that cannot be told. A
  // rank alone does not tell: rows of tables are often linearly dependent.
  bool are_all(const Tensor& coordinates) const;
  // [m] bool: of images [m, r], the most likely first, those that prove each other: as many independent ones as there
  // are training images, whose shares are small. It stands more noise than the test of one image: the images are better
  // conditioned than the change (bfloat16, 20 images of MNIST, width 512: shares up to 0.004; with one of them replaced
  // by a sum, 0.25 to 1 at those that the sum is of).
  Tensor proven_together(const Tensor& coordinates, Progress& progress) const;
  // Whether the change of biases is known: with weight decay it is not known whether they decayed too.
  bool knows_bias() const { return knows_bias_; }

 private:
  struct Inputs {
    Tensor before, after;  // [n, n_1], of the first layer's neurons
  };
  Inputs inputs_of(const Tensor& coordinates) const;
  Tensor extended(const Tensor& coordinates) const;  // [n, k]: with the bias's, where it has one of its own
  // With as many independent images as [dW | db] has rank, given extended [k, k], the sum of delta of each follows:
  // [k, n_1]. Its mean square over the neurons that the image leaves alone (`alone` [k, n_1], 0 or 1), over that over
  // the others, is its share [k]: zero at training images, if these are all; if there are others, which then are
  // combinations of these, or these are combinations of others, about 1. Neurons that all images leave alone say
  // nothing and are left out; where too few are left, the share is 1.
  Tensor sums(const Tensor& extended) const;
  static Tensor shares(const Tensor& sums, const Tensor& alone);
  Tensor alone(const Tensor& coordinates) const;  // [n, n_1], float64
  struct Chosen;
  void choose(Chosen& chosen, const Tensor& images, const Tensor& alone) const;
  // Replaces one image with a large share by the one of all `images` [m, k] that lessens the sum of shares most. False
  // where none does. Takes what was tried from `tries`.
  bool exchange_best(Chosen& chosen, const Tensor& images, const Tensor& alone, std::int64_t& tries,
                     Progress& progress) const;
  struct Missing {
    double ratio = 1;  // of the smallest singular value to the next
    Tensor direction;  // undefined where the silent neurons tell nothing
  };
  // Over the margins at which the next singular value is `least_next` at least.
  Missing missing(const Tensor& before, const Tensor& after, double least_next) const;

  const TrainedNetwork& released_;
  Tensor basis_;       // [r, d]
  Tensor rows_;        // [n_1, k]: dW in the basis, and db unless it follows from dW
  double bias_ = 1;    // the last coordinate of every image, where k = r + 1
  Tensor to_dual_;     // [k, k], from a direction to the dual vector
  Tensor directions_;  // [n_1, k]: the left singular vectors of rows_; undefined where noise hides the smallest
  double largest_ratio_ = 0;
  bool knows_bias_ = true;
};

}  // namespace afterimage
