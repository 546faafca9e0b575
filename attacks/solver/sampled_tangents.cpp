#include "attacks/solver/sampled_tangents.h"

namespace afterimage {
namespace {

// Drawing costs a fifth of a step, and the kernel of what is held anew: with one output and 190 images held at four
// points, a few steps. With many outputs that takes seconds, and only one draw is made.
constexpr std::int64_t steps_of_a_draw = 25, most_held_features = 2000;

}  // namespace

SampledTangents::SampledTangents(const DenseNetwork& network, std::vector<Parameters> points, Parameters drift,
                                 Tensor basis, std::int64_t neurons, std::uint64_t seed)
    : network_(network),
      points_(std::move(points)),
      drift_(std::move(drift)),
      basis_(std::move(basis)),
      neurons_(neurons),
      seed_(seed),
      squared_norm_(drift_.squared_norm()) {
  draw(0);
  loss_.by_images = at::empty({0}, at::TensorOptions().dtype(dtype()));
  loss_.by_coefficients = at::empty_like(loss_.by_images);
}

void SampledTangents::draw(std::int64_t number) {
  Generator random = seeded(seed_ + static_cast<std::uint64_t>(number));
  const Tensor neurons = at::randperm(network_.last_hidden_layer().neurons, random, at::kLong).narrow(0, 0, neurons_);
  part_ = network_.tangents_of_neurons(neurons, points_, drift_, basis_);
  if (held_.defined()) part_->hold(held_);
  drawn_ = number;
}

void SampledTangents::begin_step(std::int64_t step) {
  if (held_.defined() && held_.size(0) * features_per_image() > most_held_features) return;
  if (const std::int64_t number = step / steps_of_a_draw; number != drawn_) draw(number);
}

const TangentTarget::Loss& SampledTangents::loss(const Tensor& images, const Tensor& coefficients, Smoothing relu) {
  const Loss& part = part_->loss(images, coefficients, relu);
  const Tensor factor = at::scalar_tensor(scale(), part.by_images.options());
  loss_.value = part.value * scale();
  loss_.by_images.resize_as_(part.by_images);
  loss_.by_coefficients.resize_as_(part.by_coefficients);
  at::mul_out(loss_.by_images, part.by_images, factor);
  at::mul_out(loss_.by_coefficients, part.by_coefficients, factor);
  return loss_;
}

void SampledTangents::hold(const Tensor& images) {
  held_ = images;
  part_->hold(images);
}

}  // namespace afterimage
