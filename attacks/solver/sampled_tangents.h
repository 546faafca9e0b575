// Tangent features of a few neurons of the last hidden layer at a time, in place of all parameters.
//
// The neurons of a wide network are redundant. A step costs less in proportion to the part, and as another part is
// drawn every few steps, all neurons are used over a search. Layers below the last hidden one are left out: their
// change is no sum over a part of the neurons. A part has to have more equations (k times the layer's inputs) than the
// images have unknowns; the caller sees to that.
#pragma once

#include <vector>

#include "models/dense_network.h"

namespace afterimage {

class SampledTangents final : public TangentTarget {
 public:
  // `drift` against the features at `points`, in `basis`, as DenseNetwork::tangents_at() takes them, of `neurons`
  // neurons of the last hidden layer at a time. The draw follows from `seed` and the step alone (and from how
  // much is held: where drawing takes long, the first draw is kept), so that a search that is resumed uses the same.
  // The network must outlive this.
  SampledTangents(const DenseNetwork& network, std::vector<Parameters> points, Parameters drift, Tensor basis,
                  std::int64_t neurons, std::uint64_t seed);

  std::int64_t dimension() const override { return part_->dimension(); }
  std::int64_t features_per_image() const override { return part_->features_per_image(); }
  at::ScalarType dtype() const override { return part_->dtype(); }
  double squared_norm() const override { return squared_norm_; }  // of all parameters
  void begin_step(std::int64_t step) override;
  // Of the neurons that are drawn now, scaled to the squared norm of all parameters.
  Tensor inner(const Tensor& images, Smoothing relu) override { return part_->inner(images, relu).mul_(scale()); }
  Tensor gram(const Tensor& images, Smoothing relu) override { return part_->gram(images, relu).mul_(scale()); }
  const Loss& loss(const Tensor& images, const Tensor& coefficients, Smoothing relu) override;
  void hold(const Tensor& images) override;

 private:
  double scale() const { return squared_norm_ / part_->squared_norm(); }
  void draw(std::int64_t number);

  const DenseNetwork& network_;
  std::vector<Parameters> points_;
  Parameters drift_;
  Tensor basis_, held_;
  std::int64_t neurons_;
  std::uint64_t seed_;
  double squared_norm_;
  std::int64_t drawn_ = 0;
  std::unique_ptr<TangentTarget> part_;
  Loss loss_;
};

}  // namespace afterimage
